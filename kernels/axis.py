"""One axis of a convolution or pooling: which taps of which windows touch which positions, written once.

A window is `taps` positions, `dilation` apart; tap r of window p stands at p*stride + r*dilation - before, inside the
input where that is in range(extent), else in padding. An image has one to three such axes: x is (N, C, D, H, W), w is
(K, C/groups, T, R, S), y is (N, K, Z, P, Q), of which fewer axes have the last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from . import checks
from .checks import Pair, Sides, value_error
from .layout import InLayout

RANKS = (1, 2, 3)
"""How many axes an image may have."""


@dataclass(frozen=True)
class Axis:
    """The windows along one axis. before, after: the padding, of which windows need not reach all; negative where they
    leave out positions of the input itself."""

    extent: int
    taps: int
    windows: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @classmethod
    def of_points(cls, extent: int) -> Axis:
        """Every position is a window by itself."""
        return cls(extent, 1, extent)

    @classmethod
    def whole(cls, extent: int, windows: int) -> Axis:
        """Neighbouring windows that share the extent among them."""
        return cls(extent, extent // windows, windows, extent // windows)

    @property
    def reach(self) -> int:
        """Positions from a window's first tap to its last."""
        return self.dilation * (self.taps - 1)

    def span(self, windows: int) -> int:
        """Positions from the first tap of the first to the last tap of the last of so many neighbouring windows."""
        return (windows - 1) * self.stride + self.reach + 1

    def position(self, window: Any, tap: Any) -> Any:
        """Of ints, or of arrays of them."""
        return window * self.stride + tap * self.dilation - self.before

    def taps_inside(self, window: int) -> Pair:
        """The taps of a window that lie inside the input, not in padding: a range."""
        first = self.position(window, 0)
        low = min(self.taps, max(0, -(first // self.dilation)))
        return low, max(low, min(self.taps, (self.extent - 1 - first) // self.dilation + 1))

    def windows_inside(self, tap: int) -> Pair:
        """The windows of which this tap lies inside the input: a range."""
        first = self.position(0, tap)
        low = min(self.windows, max(0, -(first // self.stride)))
        return low, max(low, min(self.windows, (self.extent - 1 - first) // self.stride + 1))

    def windows_over(self, a: int, b: int) -> Pair:
        """The windows whose taps span some of positions a:b, which are not none: a range."""
        low, high = -(-(a + self.before - self.reach) // self.stride), (b - 1 + self.before) // self.stride + 1
        return min(self.windows, max(0, low)), max(0, min(self.windows, high))

    def positions_under(self, p0: int, p1: int) -> Pair:
        """The positions inside the input that the taps of windows p0:p1, which are not none, span: a range."""
        start, stop = self.position(p0, 0), self.position(p1 - 1, self.taps - 1) + 1
        return min(self.extent, max(0, start)), max(0, min(self.extent, stop))

    @property
    def reaches_outside(self) -> bool:
        """Whether some window reaches outside the input."""
        return self.before > 0 or self.position(self.windows - 1, self.taps - 1) >= self.extent

    @property
    def overlapping(self) -> bool:
        """Whether a window may begin before the last tap of the one ahead of it."""
        return self.stride <= self.reach

    @property
    def is_tiled(self) -> bool:
        """Whether windows lie side by side from the first position on, without padding."""
        steps = self.stride == self.taps and (self.dilation == 1 or self.taps == 1)
        return steps and self.before == 0 and self.windows * self.taps <= self.extent

    @property
    def padded(self) -> Axis:
        """The same windows over an input that the padding belongs to."""
        return replace(self, extent=self.before + self.extent + self.after, before=0, after=0)

    def same_taps(self) -> Iterator[tuple[slice, slice]]:
        """Neighbouring windows of which the same taps lie inside the input, with these taps."""
        ends = {0, self.windows}
        for tap in range(self.taps):
            ends.update(self.windows_inside(tap))
        for low, high in itertools.pairwise(sorted(ends)):
            yield slice(low, high), slice(*self.taps_inside(low))

    def meetings(self, windows: slice, positions: slice) -> Iterator[tuple[int, slice, slice]]:
        """Each tap that stands at some of these positions in some of these windows, with both."""
        for tap in range(self.taps):
            first = self.position(0, tap)
            low = max(windows.start, -((first - positions.start) // self.stride))
            high = min(windows.stop, -((first - positions.stop) // self.stride))
            if low < high:
                last = self.position(high - 1, tap)
                yield tap, slice(low, high), slice(self.position(low, tap), last + 1, self.stride)

    @property
    def unread(self) -> int:
        """Positions, padding among them, past the last window; less than 0 where that overhangs them (ceil_mode)."""
        return self.padded.extent - self.span(self.windows)

    @property
    def class_count(self) -> int:
        """Residue classes of the stride: positions of one class, `stride` apart, are reached by the same taps."""
        return min(self.stride, self.extent)

    @property
    def class_positions(self) -> int:
        """Positions of the first class, which no other class has more of."""
        return -(-self.extent // self.stride)

    @cached_property
    def gcd(self) -> int:
        return math.gcd(self.dilation, self.stride)

    @property
    def tap_step(self) -> int:
        """From one tap of a class to its next."""
        return self.stride // self.gcd

    @cached_property
    def inverse(self) -> int:
        """Of dilation/gcd modulo stride/gcd: by it a class finds the first of its taps (class_axis.cuh)."""
        return pow(self.dilation // self.gcd, -1, self.tap_step)

    def classes(self) -> Iterator[ClassAxis]:
        for first in range(self.class_count):
            yield self._class(first)

    def _class(self, first: int) -> ClassAxis:
        step, spread = self.tap_step, self.dilation // self.gcd
        residue, rest = divmod(first + self.before, self.gcd)
        tap = self.taps if rest else min(self.taps, residue * self.inverse % step)
        taps = -(-(self.taps - tap) // step)
        positions = -(-(self.extent - first) // self.stride)
        before = (taps - 1) * spread - (first + self.before - tap * self.dilation) // self.stride
        gradient = Axis(self.windows, taps, positions, 1, before, 0, spread)
        return ClassAxis(first, tap, step, replace(gradient, after=-gradient.unread))


class ClassAxis(NamedTuple):
    """Positions first::stride of an axis, and the taps tap::step, which alone reach them.

    gradient: these positions as windows, without stride, over the axis's windows, with their taps turned round.
    """

    first: int
    tap: int
    step: int
    gradient: Axis


class Windowed(InLayout):
    """N images of C channels seen through windows: what engines read of a geometry, whichever operation's it is."""

    N: int
    C: int
    axes: tuple[Axis, ...]

    @property
    def rank(self) -> int:
        return len(self.axes)

    @cached_property
    def stride(self) -> tuple[int, ...]:
        return tuple(axis.stride for axis in self.axes)

    @cached_property
    def dilation(self) -> tuple[int, ...]:
        return tuple(axis.dilation for axis in self.axes)

    @cached_property
    def padding(self) -> Sides:
        return tuple((axis.before, axis.after) for axis in self.axes)

    @cached_property
    def H(self) -> int:
        return self.axes[-2].extent

    @cached_property
    def W(self) -> int:
        return self.axes[-1].extent

    @cached_property
    def R(self) -> int:
        return self.axes[-2].taps

    @cached_property
    def S(self) -> int:
        return self.axes[-1].taps

    @cached_property
    def P(self) -> int:
        return self.axes[-2].windows

    @cached_property
    def Q(self) -> int:
        return self.axes[-1].windows

    @cached_property
    def extents(self) -> tuple[int, ...]:
        return tuple(axis.extent for axis in self.axes)

    @cached_property
    def kernel_size(self) -> tuple[int, ...]:
        return tuple(axis.taps for axis in self.axes)

    @cached_property
    def windows(self) -> tuple[int, ...]:
        return tuple(axis.windows for axis in self.axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.N, self.C, *self.extents)


def parse_axes(
    operation: str,
    extents: Sequence[int],
    taps: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    *,
    ceil_mode: bool = False,
) -> tuple[Axis, ...]:
    """The axes of windows of so many taps over these extents; ValueError where an option is wrong.

    padding: 'valid', 'same', or what checks.explicit_padding takes. Whether a window fits, check_fits says.
    """
    rank = len(extents)
    strides = checks.per_axis(operation, "stride", stride, rank, 1)
    dilations = checks.per_axis(operation, "dilation", dilation, rank, 1)
    if padding == "valid":
        sides: Sides = ((0, 0),) * rank
    elif padding == "same":
        sides = tuple(map(_same_padding, extents, taps, strides, dilations))
    elif isinstance(padding, str):
        raise value_error(operation, "padding", repr(padding), f"{checks.padding_forms(rank)}, 'valid' or 'same'")
    else:
        sides = checks.explicit_padding(operation, padding, rank)
    return tuple(
        _fitted(Axis(extent, r, 0, step, before, after, d), ceil_mode)
        for extent, r, step, (before, after), d in zip(extents, taps, strides, sides, dilations, strict=True)
    )


def parse_transposed_axes(
    operation: str,
    windows: Sequence[int],
    taps: Sequence[int],
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
) -> tuple[Axis, ...]:
    """The axes whose extents a transposed convolution of so many windows computes; ValueError where an option is wrong,
    or an extent less than 1."""
    rank = len(windows)
    strides = checks.per_axis(operation, "stride", stride, rank, 1)
    dilations = checks.per_axis(operation, "dilation", dilation, rank, 1)
    sides = checks.explicit_padding(operation, padding, rank)
    extra = checks.per_axis(operation, "output_padding", output_padding, rank, 0)
    if any(more >= max(step, d) for more, step, d in zip(extra, strides, dilations, strict=True)):
        expected = f"less than stride {strides} or dilation {dilations}"
        raise value_error(operation, "output_padding", extra, expected)
    axes = tuple(
        _transposed(Axis(0, r, p, step, before, after, d), more)
        for r, p, step, (before, after), d, more in zip(taps, windows, strides, sides, dilations, extra, strict=True)
    )
    if any(axis.extent < 1 for axis in axes):
        least, got = "x".join("1" * rank), "x".join(str(axis.extent) for axis in axes)
        raise value_error(operation, "padding", padding, f"an output of at least {least}, not {got}")
    return axes


def _transposed(axis: Axis, output_padding: int) -> Axis:
    """The axis with the extent that its windows span, and the output padding."""
    return replace(axis, extent=output_padding - axis.unread)


def _same_padding(extent: int, taps: int, stride: int, dilation: int) -> Pair:
    """Padding for ceil(extent / stride) windows; the odd element goes to the end."""
    windows = -(-extent // stride)
    total = max(0, (windows - 1) * stride + dilation * (taps - 1) + 1 - extent)
    return total // 2, total - total // 2


def _fitted(axis: Axis, ceil_mode: bool) -> Axis:
    """The axis with as many windows as fit: floor((extent + padding - reach - 1) / stride) + 1.

    ceil_mode rounds up, but a last window that would start past the input and the leading padding does not count
    (PyTorch's rule, aten/src/ATen/native/Pool.h).
    """
    free = axis.padded.extent - axis.reach - 1
    windows = free // axis.stride + 1
    if ceil_mode and free % axis.stride and windows * axis.stride < axis.before + axis.extent:
        windows += 1
    return replace(axis, windows=windows)


def check_extents(operation: str, argument: str, extents: Sequence[int]) -> None:
    for name, extent in zip("DHW"[-len(extents) :], extents, strict=True):
        if extent < 1:
            raise value_error(operation, f"{argument} extent {name}", extent, "at least 1")


def check_fits(operation: str, axes: tuple[Axis, ...]) -> None:
    for name, axis in zip(("depth", "height", "width")[-len(axes) :], axes, strict=True):
        if axis.windows < 1:
            raise value_error(
                operation,
                f"the window's {name} (dilation*(kernel_size-1)+1)",
                axis.reach + 1,
                f"at most the padded input's {axis.padded.extent}",
            )
