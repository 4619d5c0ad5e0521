"""The shapes and the options of losses."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..kept import hashed_once
from ..softmax.geometry import SoftmaxGeometry, check_axis


@hashed_once
@dataclass(frozen=True)
class CrossEntropyGeometry(SoftmaxGeometry):
    """weight: whether classes have weights of their own."""

    label_smoothing: float
    ignore_index: int | None
    weight: bool

    @classmethod
    def of_loss(
        cls,
        operation: str,
        x_shape: tuple[int, ...],
        *,
        axis: Any,
        label_smoothing: Any,
        ignore_index: Any,
        weight: bool,
        name: str = "x",
    ) -> CrossEntropyGeometry:
        """ValueError where a shape or an option is wrong."""
        found = check_axis(operation, f"{name}.shape", x_shape, axis)
        if x_shape[found] < 1:
            raise checks.value_error(operation, f"{name}.shape", x_shape, "at least one class")
        smoothing = check_label_smoothing(operation, label_smoothing)
        return cls(x_shape, found, smoothing, check_ignore_index(operation, ignore_index), weight)

    @property
    def labels_shape(self) -> tuple[int, ...]:
        return self.x_shape[: self.axis] + self.x_shape[self.axis + 1 :]

    @property
    def rows(self) -> int:
        return self.outer * self.inner

    @property
    def weighs(self) -> bool:
        """Whether what the sum of the losses is divided by depends on the labels."""
        return self.weight or self.ignore_index is not None


@hashed_once
@dataclass(frozen=True)
class ElementLossGeometry:
    """A mean over the elements of arrays of any shape."""

    x_shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.x_shape)


def check_label_smoothing(operation: str, label_smoothing: Any) -> float:
    number = isinstance(label_smoothing, (int, float, np.floating)) and not isinstance(label_smoothing, bool)
    if not number or not 0 <= label_smoothing <= 1:
        raise checks.value_error(operation, "label_smoothing", repr(label_smoothing), "a number from 0 to 1")
    return float(label_smoothing)


def check_ignore_index(operation: str, ignore_index: Any) -> int | None:
    if ignore_index is None:
        return None
    try:
        return operator.index(ignore_index)
    except TypeError:
        raise checks.value_error(operation, "ignore_index", repr(ignore_index), "None or an int") from None
