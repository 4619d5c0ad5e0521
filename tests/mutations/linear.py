"""Faults planted in the kernels of three TF32 products and of C by words, as a linear layer shows them."""

from __future__ import annotations

from types import ModuleType

import emulator
import numpy as np

from backstride import kernels, use_float32_precision

from .planted import NAN, WRONG, Planted

PRODUCTS = {
    "subnormal numbers not scaled": (
        "linear",
        "mul_rn(__uint_as_float(x[i]), 0x1p24f)",
        "__uint_as_float(x[i])",
        WRONG,
    ),
    "sums not scaled back": ("linear", "mul_rn(sum, 0x1p-48f)", "sum", WRONG),
    "small parts dropped": ("linear", "__float_as_uint(add_rn(scaled, -__uint_as_float(big[i])))", "0", WRONG),
    "sums that overflow left": ("linear", "OVERFLOWS = true", "OVERFLOWS = false", NAN),
    "infinities left": ("linear", "(__float_as_uint(value) & INFINITY_BITS) == INFINITY_BITS", "value != value", NAN),
    "A added again by the other axis": (
        "linear",
        "at<A_K_MAJOR>(m, k, params.stride_a)",
        "at<!A_K_MAJOR>(m, k, 1)",
        WRONG,
    ),
    "words of C by other columns": (
        "linear",
        "slab + (column + j / EACH * COLUMNS) * SLAB_LD",
        "slab + j / EACH * COLUMNS * SLAB_LD",
        WRONG,
    ),
    "the bias of the next column": (
        "linear",
        "out.bias_of(n + column)",
        "out.bias_of(n + column + 1)",
        f"out-of-bounds|{WRONG}",
    ),
    "the bias of the next row": ("linear", "out.bias_of(m + mma.row(i))", "out.bias_of(m + mma.row(i) + 1)", WRONG),
    "a bias past the last column": (
        "linear",
        "bias && i < (BIAS_ALONG_M ? rows : columns)",
        "bias",
        "out-of-bounds read",
    ),
}


def evidence_of_products(cupy: ModuleType) -> str:
    """What linear layers of samples as rows and as columns show, of subnormal numbers and of some that overflow."""
    rng = np.random.default_rng(0)
    for power in (1.0, 1e-40, 1e24):
        x, w, b = (rng.standard_normal(shape) for shape in ((36, 70), (40, 70), (40,)))
        x, w, b = (np.float32(x * power), np.float32(w), np.float32(b * power))
        expected = (x.astype(float) @ w.astype(float).T + b) / power
        for axis in (0, 1):
            arrays = x if axis == 0 else np.ascontiguousarray(x.T), w, b
            try:
                with use_float32_precision("tf32x3"):
                    got = kernels.linear(*map(cupy.asarray, arrays), batch_axis=axis).get() / power
            except emulator.EmulatorFault as fault:
                return str(fault)
            if not np.isfinite(got).all():
                return NAN
            if not np.allclose(got if axis == 0 else got.T, expected, rtol=5e-5, atol=5e-5):
                return WRONG
    return ""


PLANTED = {
    "linear": Planted(PRODUCTS, evidence_of_products),
}
