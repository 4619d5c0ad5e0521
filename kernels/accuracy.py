"""How far a result lies from the exact one, in units of the a-priori rounding bound.

The exact result and the magnitude sum|a||b| of each element come from the NumPy path in float64. Adding n products in
any order errs by at most n * eps * sum|a||b| (Higham, Accuracy and Stability of Numerical Algorithms, section 3.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..precision import get_float32_precision
from .checks import accumulation_dtype, is_float
from .conv.geometry import ConvGeometry
from .dispatch import cpu
from .linear.geometry import LinearGeometry
from .pool.geometry import AvgPoolGeometry, PoolGeometry

EXACT = ("max_pool2d", "max_pool2d_indices")
"""Operations that only select: their results admit no rounding at all."""

_BIAS_AND_DIVISOR = 2  # roundings per element beside the sum's

# What rounding both operands to tensor-core formats adds per product: TF32 keeps 11 bits of each; its threefold
# product drops three terms of 2**-22.
_OPERAND_ERROR = {"ieee": 0.0, "auto": 2.0**-20, "tf32x3": 2.0**-20, "tf32": 2.0**-10 + 2.0**-20}


@dataclass(frozen=True)
class Deviation:
    """The element of a result that lies furthest outside, or deepest inside, what is allowed."""

    ratio: float  # |got - expected| / allowed; inf where they must agree exactly, or are not finite, and differ
    output: int  # which of the operation's outputs
    index: tuple[int, ...]
    got: Any
    expected: Any
    allowed: float


def terms(operation: str, arguments: tuple[Any, ...]) -> int:
    """How many terms one element of the result adds up, at most."""
    g = next(a for a in arguments if isinstance(a, (ConvGeometry, PoolGeometry, LinearGeometry)))
    if isinstance(g, LinearGeometry):
        return {"linear": g.F, "linear_input_grad": g.O, "linear_weight_grad": g.N, "linear_bias_grad": g.N}[operation]
    if isinstance(g, PoolGeometry):
        return g.R * g.S
    window = g.R * g.S
    return {
        "conv2d": g.C // g.groups * window,
        "conv2d_input_grad": g.K // g.groups * window,
        "conv_transpose2d": g.K // g.groups * window,
        "conv2d_weight_grad": g.N * g.P * g.Q,
        "conv2d_bias_grad": g.N * g.P * g.Q,
    }[operation]


def worst(operation: str, arguments: tuple[Any, ...], results: tuple[np.ndarray, ...]) -> Deviation:
    """The worst element of `results`, which some path computed from `arguments` (NumPy arrays)."""
    if operation in EXACT:
        pairs = enumerate(zip(results, _outputs(operation, arguments), strict=True))
        return max((_worst_exact(i, got, want) for i, (got, want) in pairs), key=lambda deviation: deviation.ratio)
    parts = _parts(operation, arguments)
    if parts:
        each = [worst(*part, (result,)) for part, result in zip(parts, results, strict=True)]
        numbered = (replace(deviation, output=i) for i, deviation in enumerate(each))
        return max(numbered, key=lambda deviation: deviation.ratio)
    (got,) = results
    (expected,) = _outputs(operation, tuple(_as_float64(a) for a in arguments))
    (magnitude,) = _outputs(operation, tuple(_magnitude(a) for a in arguments))
    n = terms(operation, arguments) + _BIAS_AND_DIVISOR
    allowed = _allowed(got.dtype, expected, magnitude, n, _multiplies(operation, arguments))
    ratio = _ratio(got, expected, magnitude, allowed)
    if _multiplies_padding(operation, arguments):
        ratio = np.where(np.isnan(expected) | np.isnan(got), 0.0, ratio)
    return _at(0, ratio, got, expected, allowed)


def _parts(operation: str, arguments: tuple[Any, ...]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """The calls whose results this one returns together."""
    if operation == "conv2d_grads":
        dy, x, w, g = arguments
        return ("conv2d_input_grad", (dy, w, g)), ("conv2d_weight_grad", (dy, x, g)), ("conv2d_bias_grad", (dy, g))
    if operation == "linear_grads":
        dy, x, w, g = arguments
        return ("linear_input_grad", (dy, w, g)), *_parts("linear_parameter_grads", (dy, x, g))
    if operation == "conv2d_parameter_grads":
        dy, _, g = arguments
        return ("conv2d_weight_grad", arguments), ("conv2d_bias_grad", (dy, g))
    if operation == "linear_parameter_grads":
        dy, _, g = arguments
        return ("linear_weight_grad", arguments), ("linear_bias_grad", (dy, g))
    return ()


def _outputs(operation: str, arguments: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        result = getattr(cpu, operation)(*arguments)
    return result if isinstance(result, tuple) else (result,)


def _as_float64(argument: Any) -> Any:
    floating = isinstance(argument, np.ndarray) and is_float(argument.dtype)
    return argument.astype(np.float64) if floating else argument


def _magnitude(argument: Any) -> Any:
    if isinstance(argument, AvgPoolGeometry) and argument.divisor_override is not None:
        return replace(argument, divisor_override=abs(argument.divisor_override))
    argument = _as_float64(argument)
    return np.abs(argument) if isinstance(argument, np.ndarray) and argument.dtype == np.float64 else argument


def _multiplies(operation: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the operation is a product that tensor cores may compute."""
    return not operation.endswith("_bias_grad") and any(
        isinstance(a, (ConvGeometry, LinearGeometry)) for a in arguments
    )


_MEETS_PADDING = {"conv2d": 1, "conv2d_input_grad": 1, "conv_transpose2d": 1, "conv2d_weight_grad": 0}
"""Which argument is multiplied by zeros that lie outside the other one, or is not: no path must."""


def _multiplies_padding(operation: str, arguments: tuple[Any, ...]) -> bool:
    """Whether padding may give NaN (0 * inf) on one path and nothing on another."""
    return operation in _MEETS_PADDING and not np.isfinite(arguments[_MEETS_PADDING[operation]]).all()


def _worst_exact(output: int, got: np.ndarray, expected: np.ndarray) -> Deviation:
    same = (got == expected) | ((got != got) & (expected != expected))
    return _at(output, np.where(same, 0.0, math.inf), got, expected, np.zeros(got.shape))


def _ratio(got: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """|got - expected| / allowed per element; where either is not finite, 0 if they agree and inf if not."""
    # An overflowing result counts as the type's largest number: what matters is whether the exact one is as large.
    limit = float(_finfo(got.dtype).max)
    value = got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(np.clip(value, -limit, limit) - np.clip(expected, -limit, limit))
    ratio = np.divide(error, allowed, out=np.where(error > 0, math.inf, 0.0), where=allowed > 0)
    same = (value == expected) | (np.isnan(value) & np.isnan(expected))
    ratio = np.where(np.isfinite(expected) & ~np.isnan(value), ratio, np.where(same, 0.0, math.inf))
    # Where partial sums may overflow the accumulator, any result is within reach of some order of summation.
    may_overflow = np.isfinite(magnitude) & (magnitude >= float(_finfo(accumulation_dtype(got.dtype)).max))
    return np.where(may_overflow, 0.0, ratio)


def _allowed(dtype: np.dtype, expected: np.ndarray, magnitude: np.ndarray, n: int, product: bool) -> np.ndarray:
    accumulator = _finfo(accumulation_dtype(dtype))
    per_term = n * float(accumulator.eps)
    if dtype == np.float64:
        per_term *= 2  # the expected result has rounding errors of its own
    if dtype == np.float32 and product:
        per_term += _OPERAND_ERROR[get_float32_precision()]
    underflow = n * float(accumulator.tiny) * (magnitude > 0)
    with np.errstate(invalid="ignore"):
        allowed = per_term * magnitude + underflow
        if dtype.itemsize == 2:  # rounded once more, to half a unit of the result
            own = _finfo(dtype)
            allowed += float(own.eps) / 2 * (np.abs(expected) + allowed) + float(own.smallest_subnormal) * (allowed > 0)
    return np.where(np.isfinite(allowed), allowed, 0.0)


def _finfo(dtype: np.dtype) -> Any:
    if dtype.name != "bfloat16":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def _at(output: int, ratio: np.ndarray, got: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> Deviation:
    if ratio.size == 0:
        return Deviation(0.0, output, (), None, None, 0.0)
    index = tuple(map(int, np.unravel_index(np.argmax(ratio), ratio.shape)))
    return Deviation(float(ratio[index]), output, index, got[index], expected[index], float(allowed[index]))
