"""The shape of a pooling operation: its extents and window, the checks on them, its output size and divisor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .. import checks
from ..axis import Axis, Windowed, check_extents, check_fits, parse_axes
from ..checks import value_error
from ..kept import hashed_once, kept
from ..layout import NCHW, InLayout, image, is_channels_last


@hashed_once
@dataclass(frozen=True)
class PoolGeometry(Windowed):
    """The extents and windows of one pooling operation."""

    N: int
    C: int
    axes: tuple[Axis, ...]
    channels_last: bool = field(default=False, kw_only=True)

    @classmethod
    @kept
    def of(
        cls,
        operation: str,
        x_shape: Any,
        kernel_size: Any,
        *,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        layout: Any = NCHW,
        name: str = "x.shape",
        rank: int = 2,
    ) -> PoolGeometry:
        """Geometry of pooling an input of x_shape along `rank` axes; `stride=None` means kernel_size.

        ValueError where a shape or option is wrong, where padding exceeds dilation*(kernel_size-1), or where no
        window fits.
        """
        last = is_channels_last(operation, layout)
        n, c, *extents = image(operation, name, x_shape, rank, last)
        check_extents(operation, name, extents)
        taps = checks.per_axis(operation, "kernel_size", kernel_size, rank, 1)
        stride = taps if stride is None else stride
        axes = parse_axes(operation, extents, taps, stride, padding, dilation, ceil_mode=bool(ceil_mode))
        for number, axis in enumerate(axes):
            if max(axis.before, axis.after) > axis.reach:
                sides = tuple((axis.before, axis.after) for axis in axes)
                expected = f"at most dilation*(kernel_size-1) = {axis.reach} on each side of axis {number}"
                raise value_error(operation, "padding", sides, expected)
        check_fits(operation, axes)
        return cls(n, c, axes, channels_last=last)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.N, self.C, *self.windows)

    @cached_property
    def reaches_outside(self) -> bool:
        """Whether some window reaches outside x."""
        return any(axis.reaches_outside for axis in self.axes)

    @property
    def ceil_mode(self) -> bool:
        """Whether some window reaches past the padding, as only ceil_mode lets it."""
        return any(axis.unread < 0 for axis in self.axes)

    @cached_property
    def overlapping(self) -> bool:
        """Whether windows may share elements of x."""
        return any(axis.overlapping for axis in self.axes)

    @cached_property
    def tap_dtype(self) -> np.dtype:
        """The smallest of uint8, uint16 and int32 that holds every tap and the mark of an empty window."""
        taps = math.prod(self.kernel_size)
        return np.dtype(np.uint8 if taps < 256 else np.uint16 if taps < 65536 else np.int32)

    @cached_property
    def no_tap(self) -> int:
        """The tap that marks a window lying wholly in padding: the largest value of tap_dtype."""
        return int(np.iinfo(self.tap_dtype).max)


@hashed_once
@dataclass(frozen=True)
class AvgPoolGeometry(PoolGeometry):
    """Average pooling: a window's sum is divided by its extent, or by divisor_override where that is an int."""

    count_include_pad: bool
    divisor_override: int | None

    @classmethod
    @kept
    def of_average(
        cls,
        operation: str,
        x_shape: Any,
        kernel_size: Any,
        *,
        count_include_pad: bool = True,
        divisor_override: Any = None,
        **options: Any,
    ) -> AvgPoolGeometry:
        """Geometry of average pooling; the options are those of PoolGeometry.of."""
        g = PoolGeometry.of(operation, x_shape, kernel_size, **options)
        override = check_divisor_override(operation, divisor_override)
        return cls(g.N, g.C, g.axes, bool(count_include_pad), override, channels_last=g.channels_last)

    def counts(self) -> tuple[np.ndarray, ...]:
        """For each axis and each of its windows, the extents whose product is the divisor: int64 (P,), (Q,).

        A window is clipped to the padded input, so overhang past the trailing padding (ceil_mode) never counts;
        without count_include_pad it is clipped to the input itself.
        """
        if self.divisor_override is not None:
            first, *others = (np.ones(windows, np.int64) for windows in self.windows)
            return first * self.divisor_override, *others
        clipped = (axis.padded if self.count_include_pad else axis for axis in self.axes)
        return tuple(
            np.array([high - low for low, high in map(axis.taps_inside, range(axis.windows))], np.int64)
            for axis in clipped
        )


@hashed_once
@dataclass(frozen=True)
class AdaptivePoolGeometry(InLayout):
    """Pooling to given numbers of windows, which share each extent as evenly as they can and may overlap."""

    N: int
    C: int
    extents: tuple[int, ...]
    windows: tuple[int, ...]
    channels_last: bool = False

    @classmethod
    @kept
    def of(
        cls,
        operation: str,
        x_shape: Any,
        *,
        output_size: Any,
        layout: Any = NCHW,
        name: str = "x.shape",
        rank: int = 2,
    ) -> AdaptivePoolGeometry:
        """Geometry of pooling an input of x_shape to output_size windows; ValueError where one of them is wrong."""
        last = is_channels_last(operation, layout)
        n, c, *extents = image(operation, name, x_shape, rank, last)
        check_extents(operation, name, extents)
        return cls(n, c, tuple(extents), checks.per_axis(operation, "output_size", output_size, rank, 1), last)

    @property
    def rank(self) -> int:
        return len(self.extents)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.N, self.C, *self.extents)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.N, self.C, *self.windows)

    def covered(self) -> tuple[list[slice], ...]:
        """For each axis and each of its windows the positions under it: PyTorch's rule, rounded outwards
        (aten/src/ATen/native/AdaptivePooling.h)."""
        return tuple(_shares(windows, extent) for extent, windows in zip(self.extents, self.windows, strict=True))

    def covering(self) -> tuple[list[slice], ...]:
        """For each axis and each of its positions the windows over it."""
        return tuple(_shares(extent, windows) for extent, windows in zip(self.extents, self.windows, strict=True))


def _shares(count: int, extent: int) -> list[slice]:
    return [slice(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]


def check_divisor_override(operation: str, divisor_override: Any) -> int | None:
    """ValueError where the override is neither None nor an int other than 0."""
    if divisor_override is None:
        return None
    expected = "None or an int other than 0"
    if isinstance(divisor_override, bool) or not isinstance(divisor_override, (int, np.integer)):
        raise value_error(operation, "divisor_override", repr(divisor_override), expected)
    if divisor_override == 0:
        raise value_error(operation, "divisor_override", 0, expected)
    return int(divisor_override)
