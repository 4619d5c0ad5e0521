"""The complementary error function, which NumPy has not."""

from __future__ import annotations

import numpy as np

COEFFICIENTS = (
    -0.6513268598908547,
    0.6419697923564903,
    0.019476473204185836,
    -0.009561514786808632,
    -0.0009465953444820369,
    0.0003668394978527615,
    4.252332480690777e-05,
    -2.0278578112534243e-05,
    -1.6242900046470255e-06,
    1.3036558355805232e-06,
    1.5626441722066143e-08,
    -8.523809591492654e-08,
    6.5290544390988515e-09,
    5.059343495551469e-09,
    -9.913641565330931e-10,
    -2.273651222931836e-10,
    9.646791102015526e-11,
    2.3940380830391147e-12,
    -6.8860275264975534e-12,
    8.944879273090726e-13,
    3.130921399342958e-13,
    -1.1270822361367252e-13,
    3.810905255189232e-16,
    7.106097613612924e-15,
    -1.523028201457104e-15,
    -9.457494571291234e-17,
    1.2102371892242790e-16,
)
"""Of Chebyshev polynomials in 2t - 1: their sum is log(erfc(z)/t) + z², for t = 2/(2 + z) and z >= 0.

Schonfelder, Chebyshev expansions for the error and related functions, Math. Comp. 32 (1978), has such expansions;
these coefficients were worked out with 50 digits, at 60 nodes.
"""
ENOUGH = {4: 12, 8: len(COEFFICIENTS)}
"""How many of them are worth adding, by the bytes of a number."""


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x), in x's dtype, float32 or float64.

    The error of erfc is at most 3 (1 + x²) units of the result, that of 1 - erfc(x) in float64 below 1e-15.
    """
    z = np.abs(x)
    t = 2 / (2 + z)
    two_s = 4 * t - 2
    first, *others = COEFFICIENTS[: ENOUGH[x.itemsize]]
    b, before = np.zeros_like(z), np.zeros_like(z)
    for coefficient in reversed(others):  # Clenshaw's recurrence
        b, before = two_s * b - before + coefficient, b
    tail = t * np.exp(two_s / 2 * b - before + first - z * z)
    return np.where(x < 0, 2 - tail, tail)
