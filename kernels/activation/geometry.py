"""The shape and the options of an activation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .. import checks
from ..kept import hashed_once

APPROXIMATE = ("none", "tanh")


@hashed_once
@dataclass(frozen=True)
class ActivationGeometry:
    """An activation of every element of an array of any shape."""

    x_shape: tuple[int, ...]

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.x_shape

    @property
    def size(self) -> int:
        return math.prod(self.x_shape)


@hashed_once
@dataclass(frozen=True)
class LeakyReluGeometry(ActivationGeometry):
    negative_slope: float

    @classmethod
    def of(cls, operation: str, x_shape: tuple[int, ...], negative_slope: Any) -> LeakyReluGeometry:
        """ValueError where the slope is wrong."""
        return cls(x_shape, check_negative_slope(operation, negative_slope))


@hashed_once
@dataclass(frozen=True)
class GeluGeometry(ActivationGeometry):
    approximate: str

    @classmethod
    def of(cls, operation: str, x_shape: tuple[int, ...], approximate: Any) -> GeluGeometry:
        """ValueError where approximate is no known form."""
        return cls(x_shape, check_approximate(operation, approximate))


def check_negative_slope(operation: str, negative_slope: Any) -> float:
    """ValueError where it is no finite number >= 0: of a negative one the sign of y would not say that of x."""
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, (int, float)):
        raise checks.value_error(operation, "negative_slope", repr(negative_slope), "a number >= 0")
    if not 0 <= negative_slope < math.inf:
        raise checks.value_error(operation, "negative_slope", negative_slope, "a finite number >= 0")
    return float(negative_slope)


def check_approximate(operation: str, approximate: Any) -> str:
    if approximate not in APPROXIMATE:
        raise checks.value_error(operation, "approximate", repr(approximate), "'none' or 'tanh'")
    return str(approximate)
