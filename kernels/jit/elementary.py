"""exp and what is made of it, without a branch or a call, so that loops over them become vectors: Numba's own are calls
of the C library, element by element.

All take a float32 or a float64 and return one. Every multiply-add is written out as one (fma) and nothing may be
regrouped: an element's bits do not depend on where it stands in a loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic
from numpy.polynomial.chebyshev import cheb2poly

from ..cpu.erf import COEFFICIENTS, ENOUGH
from .compiled import compiled

_ALIGNER = {4: 1.5 * 2.0**23, 8: 1.5 * 2.0**52}
"""By the bytes of a float: added to a whole number it leaves it in the last bits, for another it rounds to it."""
_MANTISSA, _BIAS = {4: 23, 8: 52}, {4: 127, 8: 1023}


def make_polynomial(coefficients: dict[int, Sequence[float]]) -> Any:
    """polynomial(x), by Horner's rule in x² for even and odd powers, neither of which waits for the other.

    coefficients: by the bytes of a float, from the constant on.
    """

    @intrinsic
    def polynomial(typingctx, x):
        def generate(context, builder, signature, arguments):
            kind = context.get_value_type(x)
            terms = [ir.Constant(kind, c) for c in coefficients[x.bitwidth // 8]]
            if len(terms) == 1:
                return terms[0]
            square = builder.fmul(arguments[0], arguments[0])
            even, odd = (_horner(builder, some, square) for some in (terms[::2], terms[1::2]))
            return builder.fma(odd, arguments[0], even)

        return x(x), generate

    return polynomial


def _horner(builder: Any, terms: list[Any], x: Any) -> Any:
    *others, total = terms
    for term in reversed(others):
        total = builder.fma(total, x, term)
    return total


def _constant(float32: float, float64: float) -> Any:
    return make_polynomial({4: [float32], 8: [float64]})


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, a, a), generate


@intrinsic
def _power_of_two(typingctx, n):
    """2**n of a whole number n that is the exponent of a normal number."""

    def generate(context, builder, signature, arguments):
        size = n.bitwidth // 8
        kind, bits = context.get_value_type(n), ir.IntType(n.bitwidth)
        aligned = builder.fadd(arguments[0], ir.Constant(kind, _ALIGNER[size]))
        exponent = builder.add(builder.bitcast(aligned, bits), bits(_BIAS[size]))
        return builder.bitcast(builder.shl(exponent, bits(_MANTISSA[size])), kind)

    return n(n), generate


_aligner = _constant(_ALIGNER[4], _ALIGNER[8])
_log2_of_e = _constant(1 / math.log(2), 1 / math.log(2))
_ln2_high = _constant(0.693359375, 0.6931471803691238)
"""ln 2 in two parts, of which multiples of the first are exact."""
_ln2_low = _constant(-2.12194440054690583e-4, 1.9082149292705877e-10)
_expm1_over_r = make_polynomial({size: [1 / math.factorial(k + 1) for k in range(n)] for size, n in ((4, 7), (8, 13))})
"""For |r| <= ln(2)/2: what Taylor's series leaves out is less than a tenth of a unit."""
_exp_is_0, _exp_is_infinite = _constant(-104.0, -746.0), _constant(89.0, 710.0)
_shift, _shift_back = _constant(25.0, 54.0), _constant(2.0**-25, 2.0**-54)


@compiled
def _reduced(x):
    """n and r with x = n ln 2 + r, |r| at most ln(2)/2."""
    n = fma(x, _log2_of_e(x), _aligner(x)) - _aligner(x)
    return n, fma(n, -_ln2_low(x), fma(n, -_ln2_high(x), x))


@compiled
def exp(x):
    """Within 1 unit in the last place."""
    x = _exp_is_infinite(x) if x > _exp_is_infinite(x) else _exp_is_0(x) if x < _exp_is_0(x) else x
    n, r = _reduced(x)
    half = fma(n, type(x)(0.5), _aligner(x)) - _aligner(x)  # 2**n itself may be too large or too small
    return fma(_expm1_over_r(r), r, type(x)(1)) * _power_of_two(half) * _power_of_two(n - half)


@compiled
def falling_exp(x):
    """exp(x) of x <= 0, a little faster."""
    x = _exp_is_0(x) if x < _exp_is_0(x) else x
    n, r = _reduced(x)
    shifted = fma(_expm1_over_r(r), r, type(x)(1)) * _power_of_two(n + _shift(x))  # a normal number
    return shifted * _shift_back(x)


@compiled
def sigmoids(x):
    """sigmoid(x) and sigmoid(-x), neither of which overflows or cancels."""
    e = falling_exp(-abs(x))
    larger = type(x)(1) / (type(x)(1) + e)
    return (larger, e * larger) if x >= 0 else (e * larger, larger)


_tanh_is_1 = _constant(10.0, 20.0)


@compiled
def tanh(x):
    """Within 3 units in the last place, near 0 too: (e^2x - 1) / (e^2x + 1), whose first difference cancels nothing."""
    z = abs(x)
    z = _tanh_is_1(x) if z > _tanh_is_1(x) else z
    n, r = _reduced(z + z)
    power = _power_of_two(n)
    expm1 = fma(_expm1_over_r(r) * r, power, power - type(x)(1))
    return math.copysign(expm1 / (expm1 + type(x)(2)), x)


_log_erfc = make_polynomial({size: cheb2poly(COEFFICIENTS[:n]).tolist() for size, n in ENOUGH.items()})


@compiled
def erfc(x):
    """1 - erf(x), by the series of cpu/erf.py: the error is at most 6 (1 + x²) units of the result."""
    z, two = abs(x), type(x)(2)
    t = two / (two + z)
    tail = t * falling_exp(fma(-z, z, _log_erfc(fma(two, t, type(x)(-1)))))
    return two - tail if x < 0 else tail


_atanh_over_u = make_polynomial({size: [1 / (2 * k + 1) for k in range(n)] for size, n in ((4, 8), (8, 17))})
"""A polynomial in u², which is at most 1/9."""


@compiled
def log1p(x):
    """log(1 + x) for x from 0 to 1, within 2 units in the last place."""
    u = x / (type(x)(2) + x)
    return type(x)(2) * u * _atanh_over_u(u * u)
