"""The shape of a pooling operation: its extents and window, the checks on them, its output size and divisor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import checks
from ..axis import Shape4, Window, check_extents, check_fits, kept
from ..checks import Padding, Pair, value_error


@dataclass(frozen=True)
class PoolGeometry:
    """The extents and window of one pooling operation."""

    N: int
    C: int
    H: int
    W: int
    R: int
    S: int
    P: int
    Q: int
    stride: Pair
    padding: Padding
    dilation: Pair

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
        name: str = "x.shape",
    ) -> PoolGeometry:
        """Geometry of pooling an input of x_shape; `stride=None` means kernel_size.

        ValueError where a shape or option is wrong, where padding exceeds dilation*(kernel_size-1), or where no
        window fits.
        """
        n, c, h, w = checks.shape4(operation, name, x_shape, "(N, C, H, W)")
        check_extents(operation, name, (h, w))
        kernel = checks.pair(operation, "kernel_size", kernel_size, 1)
        stride = kernel if stride is None else stride
        window = Window.parse(operation, (h, w), kernel, stride, padding, dilation)
        for axis in (0, 1):
            if max(window.padding[axis]) > window.reach(axis):
                expected = f"at most dilation*(kernel_size-1) = {window.reach(axis)} on each side of axis {axis}"
                raise value_error(operation, "padding", window.padding, expected)
        p, q = window.count(0, h, bool(ceil_mode)), window.count(1, w, bool(ceil_mode))
        check_fits(operation, window, (h, w), (p, q))
        return cls(n, c, h, w, *kernel, p, q, window.stride, window.padding, window.dilation)

    @property
    def x_shape(self) -> Shape4:
        return self.N, self.C, self.H, self.W

    @property
    def y_shape(self) -> Shape4:
        return self.N, self.C, self.P, self.Q

    @cached_property
    def reaches_outside(self) -> bool:
        """Whether some window reaches outside x."""
        bottom, right = (
            (windows - 1) * self.stride[i] + (kernel - 1) * self.dilation[i] - self.padding[i][0]
            for i, (windows, kernel) in enumerate(((self.P, self.R), (self.Q, self.S)))
        )
        return self.padding[0][0] > 0 or self.padding[1][0] > 0 or bottom >= self.H or right >= self.W

    @property
    def ceil_mode(self) -> bool:
        """Whether some window reaches past the padding, as only ceil_mode lets it."""
        extents, kernel, windows = (self.H, self.W), (self.R, self.S), (self.P, self.Q)
        axes = zip(extents, kernel, windows, self.stride, self.padding, self.dilation, strict=True)
        return any(
            (count - 1) * stride + dilation * (taps - 1) >= extent + sum(padding)
            for extent, taps, count, stride, padding, dilation in axes
        )

    @cached_property
    def overlapping(self) -> bool:
        """Whether windows may share elements of x."""
        return any(self.stride[i] <= (kernel - 1) * self.dilation[i] for i, kernel in enumerate((self.R, self.S)))

    @cached_property
    def tap_dtype(self) -> np.dtype:
        """The smallest of uint8, uint16 and int32 that holds every tap and the mark of an empty window."""
        taps = self.R * self.S
        return np.dtype(np.uint8 if taps < 256 else np.uint16 if taps < 65536 else np.int32)

    @cached_property
    def no_tap(self) -> int:
        """The tap that marks a window lying wholly in padding: the largest value of tap_dtype."""
        return int(np.iinfo(self.tap_dtype).max)


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
        return cls(**vars(g), count_include_pad=bool(count_include_pad), divisor_override=override)

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Per output row and per output column, the extents whose product is the divisor: int64 (P,), (Q,).

        A window is clipped to the padded input, so overhang past the trailing padding (ceil_mode) never counts;
        without count_include_pad it is clipped to the input itself.
        """
        if self.divisor_override is not None:
            return np.full(self.P, self.divisor_override, dtype=np.int64), np.ones(self.Q, dtype=np.int64)
        return self._clipped(0, self.P, self.R, self.H), self._clipped(1, self.Q, self.S, self.W)

    def _clipped(self, axis: int, windows: int, kernel: int, extent: int) -> np.ndarray:
        before, after = self.padding[axis] if self.count_include_pad else (0, 0)
        start = np.arange(windows, dtype=np.int64) * self.stride[axis] - self.padding[axis][0]
        return np.minimum(start + kernel, extent + after) - np.maximum(start, -before)


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
