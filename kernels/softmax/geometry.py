"""The rows of an array along one of its axes."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

from .. import checks
from ..kept import hashed_once


@hashed_once
@dataclass(frozen=True)
class SoftmaxGeometry:
    """x_shape: of any number of axes but none. axis: >= 0, the one along which a row of classes lies."""

    x_shape: tuple[int, ...]
    axis: int

    @classmethod
    def of(cls, operation: str, x_shape: tuple[int, ...], axis: Any, name: str = "x") -> SoftmaxGeometry:
        """ValueError where the array has no such axis."""
        return cls(x_shape, check_axis(operation, f"{name}.shape", x_shape, axis))

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.x_shape

    @property
    def outer(self) -> int:
        return math.prod(self.x_shape[: self.axis])

    @property
    def length(self) -> int:
        return self.x_shape[self.axis]

    @property
    def inner(self) -> int:
        return math.prod(self.x_shape[self.axis + 1 :])


def check_axis(operation: str, argument: str, shape: tuple[int, ...], axis: Any) -> int:
    """The axis, counted from the front; ValueError where the array has no such axis."""
    if not shape:
        raise checks.value_error(operation, argument, shape, "at least one axis")
    try:
        found = operator.index(axis)
    except TypeError:
        found = len(shape)
    if isinstance(axis, bool) or not -len(shape) <= found < len(shape):
        raise checks.value_error(operation, "axis", repr(axis), f"an int from {-len(shape)} to {len(shape) - 1}")
    return found % len(shape)
