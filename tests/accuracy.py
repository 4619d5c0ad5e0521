"""Test data, and how far a result may be from the exact one."""

from __future__ import annotations

import numpy as np
import pytest

DTYPES = ("float64", "float32", "float16", "bfloat16")


def dtype_of(name: str) -> np.dtype:
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes").bfloat16)
    return np.dtype(name)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal random numbers in float64 that `dtype` holds exactly.

    Those for float64 and float32 are the same (exact in float32), and so are those for the two 16-bit types (exact
    in both), so that one reference serves two dtypes.
    """
    numbers = rng.standard_normal(shape).astype(np.float32)
    if dtype in ("float16", "bfloat16"):
        top_half = (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what bfloat16 keeps of a float32
        numbers = top_half.astype(np.float16)
    return numbers.astype(np.float64)


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Integers of magnitude <= 8 in float64: sums of up to 2**24/64 products are exact in float32."""
    return rng.integers(-8, 9, shape).astype(np.float64)


def _eps(dtype: np.dtype) -> float:
    return {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype.name]


def assert_accurate(got: np.ndarray, exact: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    """`got`, a sum of at most `terms` products accumulated as its dtype demands, is as good as any order of summation.

    Adding n products in any order errs by at most about n*u*sum|a||b| (u = eps/2 of the accumulator; Higham, Accuracy
    and Stability of Numerical Algorithms, 3.5); the 2 more are for the bias and the divisor of an average. 16-bit
    types accumulate in float32 and round once, to half a unit of the result. Where sum|a||b| is 0 the result is 0.
    """
    assert got.shape == exact.shape
    accumulator = np.dtype(np.float32) if got.dtype.itemsize == 2 else got.dtype
    allowed = (terms + 2) * _eps(accumulator) / 2 * magnitude
    if got.dtype.itemsize == 2:
        # 2**-25 is half of float16's smallest subnormal, the rounding step near zero; bfloat16's is far smaller
        allowed = allowed + _eps(got.dtype) / 2 * (np.abs(exact) + allowed) + (magnitude > 0) * 2.0**-25
    error = np.abs(got.astype(np.float64) - exact)
    worst = np.unravel_index(np.argmax(error - allowed), error.shape) if error.size else None
    assert (error <= allowed).all(), (
        f"at {worst}: got {got[worst]!r}, exact {exact[worst]!r}, error {error[worst]:.3g}, {allowed[worst]=:.3g}"
    )


def assert_exact(got: np.ndarray, exact: np.ndarray) -> None:
    """`got` is `exact` rounded once to its dtype; NaN equals NaN. For sums that are exact in the accumulator."""
    np.testing.assert_array_equal(got.astype(np.float64), exact.astype(got.dtype).astype(np.float64), strict=True)
