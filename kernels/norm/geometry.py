"""The shape of a normalisation: which elements share a mean and a variance, and the checks on extents and options."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .. import checks
from ..checks import is_sequence, value_error
from ..kept import hashed_once, kept
from ..layout import NCHW, InLayout, from_layout, is_channels_last

Shape = tuple[int, ...]


@hashed_once
@dataclass(frozen=True)
class BatchNormGeometry(InLayout):
    """x is (N, C, *X) or, with channels last, (N, *X, C); the elements of a channel share a mean and a variance.

    activation: what follows, "relu" or None. residual: whether one is added before it.
    """

    N: int
    C: int
    extents: Shape
    eps: float
    activation: str | None = None
    residual: bool = False
    channels_last: bool = False

    @classmethod
    @kept
    def of(
        cls,
        operation: str,
        x_shape: Any,
        *,
        eps: Any,
        activation: Any = None,
        residual: bool = False,
        layout: Any = NCHW,
    ) -> BatchNormGeometry:
        """ValueError where the shape or an option is wrong."""
        last = is_channels_last(operation, layout)
        n, c, extents = _images(operation, x_shape, last)
        eps, activation = check_eps(operation, eps), checks.activation(operation, activation)
        return cls(n, c, extents, eps, activation, residual, last)

    @cached_property
    def x_shape(self) -> Shape:
        return self.in_layout(self.N, self.C, *self.extents)

    @property
    def rank(self) -> int:
        return len(self.extents)

    @cached_property
    def of_pixels(self) -> BatchNormGeometry:
        """The same of a matrix of pixels by channels, which is what an array with channels last is."""
        return replace(self, N=self.count, extents=(), channels_last=False)

    @property
    def parameter_shape(self) -> Shape:
        """Of gamma and beta."""
        return (self.C,)

    statistics_shape = parameter_shape
    """Of mean and var."""

    @cached_property
    def plane(self) -> int:
        """Elements of a channel of one image."""
        return math.prod(self.extents)

    @property
    def count(self) -> int:
        """Elements that share a mean and a variance."""
        return self.N * self.plane


@hashed_once
@dataclass(frozen=True)
class RowNormGeometry:
    """Group and layer normalisation: x is N images of `num_groups` rows, each of neighbouring channels, whose elements
    share a mean and a variance; layer normalisation has one group of channels of one element each.

    plane: elements of a channel of one image.
    """

    x_shape: Shape
    N: int
    num_groups: int
    channels: int  # of a group
    plane: int
    parameter_shape: Shape
    statistics_shape: Shape
    eps: float

    @classmethod
    @kept
    def of_groups(cls, operation: str, x_shape: Any, *, num_groups: Any, eps: Any) -> RowNormGeometry:
        """Of group normalisation; ValueError where the shape or an option is wrong."""
        n, c, extents = _images(operation, x_shape)
        groups = check_num_groups(operation, num_groups, c)
        shape = (n, c, *extents)
        return cls(shape, n, groups, c // groups, math.prod(extents), (c,), (n, groups), check_eps(operation, eps))

    @classmethod
    @kept
    def of_layer(cls, operation: str, x_shape: Any, *, normalized_shape: Any, eps: Any) -> RowNormGeometry:
        """Of layer normalisation; ValueError where the shape or an option is wrong."""
        shape = tuple(x_shape)
        normalized = check_normalized_shape(operation, normalized_shape)
        leading, last = shape[: -len(normalized)], shape[-len(normalized) :]
        if last != normalized:
            raise value_error(operation, "x.shape", shape, f"normalized_shape {normalized} as its last axes")
        return cls(shape, math.prod(leading), 1, math.prod(last), 1, normalized, leading, check_eps(operation, eps))

    @property
    def C(self) -> int:
        return self.num_groups * self.channels

    @property
    def count(self) -> int:
        """Elements that share a mean and a variance."""
        return self.channels * self.plane


def check_eps(operation: str, eps: Any) -> float:
    """`eps` as a float; ValueError where it is no number >= 0."""
    expected = "a number >= 0"
    if isinstance(eps, bool):
        raise value_error(operation, "eps", eps, expected)
    try:
        number = float(eps)
    except (TypeError, ValueError):
        raise value_error(operation, "eps", repr(eps), expected) from None
    if not 0 <= number < math.inf:
        raise value_error(operation, "eps", eps, expected)
    return number


def check_num_groups(operation: str, num_groups: Any, channels: int) -> int:
    """`num_groups` as an int; ValueError where it does not divide the channels."""
    groups = checks.integer(operation, "num_groups", num_groups, 1)
    if channels % groups:
        raise value_error(operation, "num_groups", groups, f"a divisor of C = {channels}")
    return groups


def check_normalized_shape(operation: str, normalized_shape: Any) -> Shape:
    """`normalized_shape`, an int or a sequence of them, as a tuple; ValueError where an extent is less than 1."""
    extents = tuple(normalized_shape) if is_sequence(normalized_shape) else (normalized_shape,)
    if not extents:
        raise value_error(operation, "normalized_shape", normalized_shape, "at least one axis")
    return tuple(checks.integer(operation, "normalized_shape", extent, 1) for extent in extents)


def _images(operation: str, x_shape: Any, channels_last: bool = False) -> tuple[int, int, Shape]:
    """N, C and *X."""
    shape = tuple(x_shape)
    if len(shape) < 2:
        axes = "(N, *X, C)" if channels_last else "(N, C, *X)"
        raise value_error(operation, "x.shape", shape, f"at least two axes {axes}")
    n, c, *extents = from_layout(shape, channels_last)
    for place, extent in enumerate(extents, start=1 if channels_last else 2):
        if extent < 1:
            raise value_error(operation, f"x.shape[{place}]", extent, "at least 1")
    return n, c, tuple(extents)
