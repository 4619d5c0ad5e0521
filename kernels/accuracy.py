"""How far a result lies from the exact one, in units of the a-priori rounding bound.

The exact result and the magnitude sum|a||b| of each element come from the judging path in float64. Adding n products in
any order errs by at most n * eps * sum|a||b| (Higham, Accuracy and Stability of Numerical Algorithms, section 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..precision import get_float32_precision
from .dtypes import accumulation_dtype, finfo, is_float
from .operation import PLAIN, Operation, as_tuple, implementation, outputs_of

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


def worst(operation: Operation, arguments: tuple[Any, ...], results: tuple[np.ndarray, ...]) -> Deviation:
    """The worst element of `results`, which some path computed from `arguments`, NumPy arrays and a geometry."""
    deviations = enumerate(_deviations(operation, arguments, results))
    numbered = (replace(deviation, output=i) for i, deviation in deviations)
    return max(numbered, key=lambda deviation: deviation.ratio)


def _deviations(
    operation: Operation, arguments: tuple[Any, ...], results: tuple[np.ndarray, ...]
) -> Iterator[Deviation]:
    """The worst element of each output."""
    if operation.parts:
        yield from _parts_deviations(operation, arguments, results)
        return
    *given, geometry = arguments
    inputs = tuple(map(_as_float64, given))
    compute = implementation(operation, PLAIN)
    with np.errstate(all="ignore"):
        expected = as_tuple(compute(*inputs, geometry))
        outputs = outputs_of(operation, geometry)
        inexact = any(output.terms for output in outputs)
        magnitudes = as_tuple(operation.magnitudes(compute, inputs, geometry)) if inexact else expected
    for output, got, want, magnitude in zip(outputs, results, expected, magnitudes, strict=True):
        if output.terms is None:
            yield _worst_exact(got, want)
            continue
        n = output.terms(geometry) + _BIAS_AND_DIVISOR
        rounded = np.abs(want)
        if output.between and got.dtype.itemsize == 2:
            rounded = rounded + output.between(compute, inputs, geometry)
        allowed = _allowed(got.dtype, rounded, magnitude, n, operation.is_product)
        ratio = _ratio(got, want, magnitude, allowed)
        yield _at(ratio, got, want, allowed)


def _parts_deviations(
    composite: Operation, arguments: tuple[Any, ...], results: tuple[np.ndarray, ...]
) -> Iterator[Deviation]:
    *inputs, geometry = arguments
    named = dict(zip((each.name for each in composite.inputs), inputs, strict=True))
    for part in composite.parts:
        own, results = results[: len(part.outputs)], results[len(part.outputs) :]
        yield from _deviations(part, (*(named[each.name] for each in part.inputs), geometry), own)


def _as_float64(array: np.ndarray | None) -> np.ndarray | None:
    return array.astype(np.float64) if array is not None and is_float(array.dtype) else array


def _worst_exact(got: np.ndarray, expected: np.ndarray) -> Deviation:
    same = (got == expected) | ((got != got) & (expected != expected))
    return _at(np.where(same, 0.0, math.inf), got, expected, np.zeros(got.shape))


def _ratio(got: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """|got - expected| / allowed per element; where either is not finite, 0 if they agree and inf if not."""
    # An overflowing result counts as the type's largest number: what matters is whether the exact one is as large.
    limit = float(finfo(got.dtype).max)
    value = got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(np.clip(value, -limit, limit) - np.clip(expected, -limit, limit))
    ratio = np.divide(error, allowed, out=np.where(error > 0, math.inf, 0.0), where=allowed > 0)
    same = (value == expected) | (np.isnan(value) & np.isnan(expected))
    ratio = np.where(np.isfinite(expected) & ~np.isnan(value), ratio, np.where(same, 0.0, math.inf))
    # Where partial sums may overflow the accumulator, any result is within reach of some order of summation.
    may_overflow = np.isfinite(magnitude) & (magnitude >= float(finfo(accumulation_dtype(got.dtype)).max))
    return np.where(may_overflow, 0.0, ratio)


def _allowed(dtype: np.dtype, rounded: np.ndarray, magnitude: np.ndarray, n: int, product: bool) -> np.ndarray:
    """rounded: the magnitude of what 16 bits round."""
    accumulator = finfo(accumulation_dtype(dtype))
    per_term = n * float(accumulator.eps)
    if dtype == np.float64:
        per_term *= 2  # the expected result has rounding errors of its own
    if dtype == np.float32 and product:
        per_term += _OPERAND_ERROR[get_float32_precision()]
    underflow = n * float(accumulator.tiny) * (magnitude > 0)
    with np.errstate(invalid="ignore"):
        allowed = per_term * magnitude + underflow
        if dtype.itemsize == 2:  # rounded once more, to half a unit of the result
            own = finfo(dtype)
            allowed += float(own.eps) / 2 * (rounded + allowed) + float(own.smallest_subnormal) * (allowed > 0)
    return np.where(np.isfinite(allowed), allowed, 0.0)


def _at(ratio: np.ndarray, got: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> Deviation:
    if ratio.size == 0:
        return Deviation(0.0, 0, (), None, None, 0.0)
    index = tuple(map(int, np.unravel_index(np.argmax(ratio), ratio.shape)))
    return Deviation(float(ratio[index]), 0, index, got[index], expected[index], float(allowed[index]))
