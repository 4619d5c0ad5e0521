"""Shapes of every operation: the checks on extents and options, and the output sizes, written once.

Extents: x is (N, C, H, W), w is (K, C/groups, R, S), y is (N, K, P, Q). A tap (r, s) is a position inside the
window, numbered r*S + s. Window p starts at input row p*stride - top padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from . import checks
from .checks import Padding, Pair, value_error

Shape4 = tuple[int, int, int, int]
F = TypeVar("F", bound=Callable[..., Any])

_MOST_KEPT = 4096


def _kept(of: F) -> F:
    """A constructor that is checked and computed once for equal arguments.

    They are equal where their texts are: that tells True from 1, and a list needs no hash.
    """
    kept: dict[str, Any] = {}

    @functools.wraps(of)
    def call(*arguments: Any, **options: Any) -> Any:
        key = repr((arguments, options))
        found = kept.get(key)
        if found is None:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            found = kept[key] = of(*arguments, **options)
        return found

    return call  # type: ignore[return-value]


@dataclass(frozen=True)
class Window:
    """A sliding window along both axes: kernel extents, stride, dilation and resolved padding."""

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair

    @classmethod
    def parse(
        cls, operation: str, extents: Pair, kernel: Pair, stride: Any, padding: Any, dilation: Any
    ) -> Window:
        """Check the options and resolve the padding ('valid' and 'same' too) for an input of these extents."""
        stride = checks.pair(operation, "stride", stride, 1)
        dilation = checks.pair(operation, "dilation", dilation, 1)
        if padding == "valid":
            resolved: Padding = ((0, 0), (0, 0))
        elif padding == "same":
            top_bottom, left_right = (
                _same_padding(extents[i], kernel[i], stride[i], dilation[i]) for i in (0, 1)
            )
            resolved = (top_bottom, left_right)
        elif isinstance(padding, str):
            forms = "an int, an (h, w) pair, ((top, bottom), (left, right)), 'valid' or 'same'"
            raise value_error(operation, "padding", repr(padding), forms)
        else:
            resolved = checks.explicit_padding(operation, padding)
        return cls(kernel, stride, resolved, dilation)

    def reach(self, axis: int) -> int:
        """Input rows (axis 0) or columns (axis 1) from the first tap to the last."""
        return self.dilation[axis] * (self.kernel[axis] - 1)

    def count(self, axis: int, extent: int, ceil_mode: bool = False) -> int:
        """How many windows fit along an axis: floor((extent + padding - reach - 1) / stride) + 1.

        ceil_mode rounds up, but a last window that would start past the input and the leading padding does
        not count (PyTorch's rule, aten/src/ATen/native/Pool.h).
        """
        before, after = self.padding[axis]
        stride = self.stride[axis]
        free = extent + before + after - self.reach(axis) - 1
        if not ceil_mode:
            return free // stride + 1
        count = -(-free // stride) + 1
        return count - 1 if (count - 1) * stride >= extent + before else count


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> Pair:
    """Padding for ceil(extent / stride) windows; the odd element goes to the bottom or right."""
    windows = -(-extent // stride)
    total = max(0, (windows - 1) * stride + dilation * (kernel - 1) + 1 - extent)
    return total // 2, total - total // 2


def _check_extents(operation: str, argument: str, extents: Pair) -> None:
    for name, extent in zip("HW", extents, strict=True):
        if extent < 1:
            raise value_error(operation, f"{argument} extent {name}", extent, "at least 1")


def _check_fits(operation: str, window: Window, extents: Pair, counts: Pair) -> None:
    for axis, name in ((0, "height"), (1, "width")):
        if counts[axis] < 1:
            padded = extents[axis] + sum(window.padding[axis])
            raise value_error(
                operation,
                f"the window's {name} (dilation*(kernel_size-1)+1)",
                window.reach(axis) + 1,
                f"at most the padded input's {padded}",
            )


@dataclass(frozen=True)
class Conv2dGeometry:
    """The extents and window of one convolution, whichever of its operations is computed."""

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @classmethod
    @_kept
    def of(
        cls,
        operation: str,
        x_shape: Any,
        w_shape: Any,
        *,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        names: tuple[str, str] = ("x.shape", "w.shape"),
    ) -> Conv2dGeometry:
        """Geometry of a convolution of an input of x_shape with weights of w_shape.

        `names` are what the caller's arguments are called in messages. ValueError where a shape or option is
        wrong, or where no window fits.
        """
        n, c, h, w = checks.shape4(operation, names[0], x_shape, "(N, C, H, W)")
        k, group_channels, r, s = checks.shape4(operation, names[1], w_shape, "(K, C/groups, R, S)")
        groups = check_groups(operation, groups, c, k)
        _check_kernel(operation, names[1], k, r, s)
        if group_channels != c // groups:
            got = f"{tuple(w_shape)} (axis 1 is {group_channels})"
            expected = f"axis 1 to be C/groups = {c}/{groups} = {c // groups}, with C from {names[0]}"
            raise value_error(operation, names[1], got, expected)
        _check_extents(operation, names[0], (h, w))
        window = Window.parse(operation, (h, w), (r, s), stride, padding, dilation)
        p, q = window.count(0, h), window.count(1, w)
        _check_fits(operation, window, (h, w), (p, q))
        return cls(n, c, h, w, k, r, s, p, q, window.stride, window.padding, window.dilation, groups)

    @classmethod
    @_kept
    def of_transposed(
        cls,
        operation: str,
        x_shape: Any,
        w_shape: Any,
        *,
        stride: Any,
        padding: Any,
        output_padding: Any,
        dilation: Any,
        groups: Any,
    ) -> Conv2dGeometry:
        """Geometry of the convolution whose input gradient a transposed convolution is.

        x_shape is that convolution's output shape and the transposed result has its input shape:
        H = (P-1)*stride - padding + dilation*(R-1) + output_padding + 1 (PyTorch, ConvTranspose2d).
        """
        n, k, p, q = checks.shape4(operation, "x.shape", x_shape, "(N, C, H, W)")
        rows, group_channels, r, s = checks.shape4(operation, "w.shape", w_shape, "(C, K/groups, R, S)")
        if rows != k:
            raise value_error(operation, "w.shape", tuple(w_shape), f"axis 0 to be C = {k}, from x.shape")
        groups = checks.integer(operation, "groups", groups, 1)
        c = group_channels * groups
        check_groups(operation, groups, k, c)
        _check_kernel(operation, "w.shape", min(k, c), r, s)
        _check_extents(operation, "x.shape", (p, q))
        stride = checks.pair(operation, "stride", stride, 1)
        dilation = checks.pair(operation, "dilation", dilation, 1)
        resolved = checks.explicit_padding(operation, padding)
        extra = checks.pair(operation, "output_padding", output_padding, 0)
        for axis in (0, 1):
            if extra[axis] >= max(stride[axis], dilation[axis]):
                expected = f"less than stride {stride} or dilation {dilation}"
                raise value_error(operation, "output_padding", extra, expected)
        window = Window((r, s), stride, resolved, dilation)
        h, w = (
            (count - 1) * stride[axis] - sum(resolved[axis]) + window.reach(axis) + extra[axis] + 1
            for axis, count in ((0, p), (1, q))
        )
        if min(h, w) < 1:
            raise value_error(operation, "padding", padding, f"an output of at least 1x1, not {h}x{w}")
        return cls(n, c, h, w, k, r, s, p, q, stride, resolved, dilation, groups)

    @property
    def x_shape(self) -> Shape4:
        return self.N, self.C, self.H, self.W

    @property
    def w_shape(self) -> Shape4:
        return self.K, self.C // self.groups, self.R, self.S

    @property
    def y_shape(self) -> Shape4:
        return self.N, self.K, self.P, self.Q

    @property
    def flops(self) -> int:
        """Floating-point operations of any one of forward, dx and dw: a multiply and an add per product."""
        return 2 * self.N * self.K * self.P * self.Q * (self.C // self.groups) * self.R * self.S


def check_groups(operation: str, groups: Any, c: int, k: int) -> int:
    groups = checks.integer(operation, "groups", groups, 1)
    if c % groups or k % groups:
        raise value_error(operation, "groups", groups, f"a divisor of C = {c} and K = {k}")
    return groups


def _check_kernel(operation: str, argument: str, k: int, r: int, s: int) -> None:
    if min(k, r, s) < 1:
        raise value_error(operation, argument, f"K={k}, R={r}, S={s}", "each at least 1")


@dataclass(frozen=True)
class Pool2dGeometry:
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
    @_kept
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
    ) -> Pool2dGeometry:
        """Geometry of pooling an input of x_shape; `stride=None` means kernel_size.

        ValueError where a shape or option is wrong, where padding exceeds dilation*(kernel_size-1), or where no
        window fits.
        """
        n, c, h, w = checks.shape4(operation, name, x_shape, "(N, C, H, W)")
        _check_extents(operation, name, (h, w))
        kernel = checks.pair(operation, "kernel_size", kernel_size, 1)
        stride = kernel if stride is None else stride
        window = Window.parse(operation, (h, w), kernel, stride, padding, dilation)
        for axis in (0, 1):
            if max(window.padding[axis]) > window.reach(axis):
                expected = f"at most dilation*(kernel_size-1) = {window.reach(axis)} on each side of axis {axis}"
                raise value_error(operation, "padding", window.padding, expected)
        p, q = window.count(0, h, bool(ceil_mode)), window.count(1, w, bool(ceil_mode))
        _check_fits(operation, window, (h, w), (p, q))
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
class AvgDivisor:
    """What average pooling divides a window's sum by."""

    count_include_pad: bool
    override: int | None

    @classmethod
    @_kept
    def of(cls, operation: str, count_include_pad: bool, divisor_override: Any) -> AvgDivisor:
        """ValueError where the override is neither None nor an int other than 0."""
        if divisor_override is not None:
            expected = "None or an int other than 0"
            if isinstance(divisor_override, bool) or not isinstance(divisor_override, (int, np.integer)):
                raise value_error(operation, "divisor_override", repr(divisor_override), expected)
            if divisor_override == 0:
                raise value_error(operation, "divisor_override", 0, expected)
        return cls(bool(count_include_pad), None if divisor_override is None else int(divisor_override))

    def counts(self, geometry: Pool2dGeometry) -> tuple[np.ndarray, np.ndarray]:
        """Per output row and per output column, the extents whose product is the divisor: int64 (P,), (Q,).

        A window is clipped to the padded input, so overhang past the trailing padding (ceil_mode) never counts;
        without count_include_pad it is clipped to the input itself.
        """
        g = geometry
        if self.override is not None:
            return np.full(g.P, self.override, dtype=np.int64), np.ones(g.Q, dtype=np.int64)
        return self._clipped(g, 0, g.P, g.R, g.H), self._clipped(g, 1, g.Q, g.S, g.W)

    def _clipped(self, g: Pool2dGeometry, axis: int, windows: int, kernel: int, extent: int) -> np.ndarray:
        before, after = g.padding[axis] if self.count_include_pad else (0, 0)
        start = np.arange(windows, dtype=np.int64) * g.stride[axis] - g.padding[axis][0]
        return np.minimum(start + kernel, extent + after) - np.maximum(start, -before)


@dataclass(frozen=True)
class LinearGeometry:
    """The extents of a fully connected layer: w is (O, F); N samples along axis `batch_axis` of x and y."""

    N: int
    F: int
    O: int  # noqa: E741 - the extents' names are the field's
    batch_axis: int

    @classmethod
    @_kept
    def of(
        cls, operation: str, batch_axis: Any, *, w_shape: Any, x_shape: Any = None, dy_shape: Any = None
    ) -> LinearGeometry:
        """Check the one of x and dy that is given against w; ValueError where a shape or batch_axis is wrong."""
        check_batch_axis(operation, batch_axis)
        o, f = checks.shape2(operation, "w.shape", w_shape, "(O, F)")
        if x_shape is not None:
            name, shape, axis, features = "x.shape", x_shape, "F", f
        else:
            name, shape, axis, features = "dy.shape", dy_shape, "O", o
        axes = f"(N, {axis})" if batch_axis == 0 else f"({axis}, N)"
        extents = checks.shape2(operation, name, shape, axes)
        if extents[1 - batch_axis] != features:
            raise value_error(operation, name, extents, f"{axes} with {axis} = {features}, from w.shape {(o, f)}")
        return cls(extents[batch_axis], f, o, batch_axis)

    @classmethod
    @_kept
    def of_gradient(cls, operation: str, batch_axis: Any, dy_shape: Any, x_shape: Any) -> LinearGeometry:
        """Check dy and x against each other: they hold the same samples."""
        check_batch_axis(operation, batch_axis)
        dy_axes, x_axes = ("(N, O)", "(N, F)") if batch_axis == 0 else ("(O, N)", "(F, N)")
        dy = checks.shape2(operation, "dy.shape", dy_shape, dy_axes)
        x = checks.shape2(operation, "x.shape", x_shape, x_axes)
        if x[batch_axis] != dy[batch_axis]:
            raise value_error(operation, "x.shape", x, f"{x_axes} with N = {dy[batch_axis]}, from dy.shape {dy}")
        return cls(dy[batch_axis], x[1 - batch_axis], dy[1 - batch_axis], batch_axis)

    @property
    def x_shape(self) -> Pair:
        return (self.N, self.F) if self.batch_axis == 0 else (self.F, self.N)

    @property
    def w_shape(self) -> Pair:
        return self.O, self.F

    @property
    def y_shape(self) -> Pair:
        return (self.N, self.O) if self.batch_axis == 0 else (self.O, self.N)

    @property
    def flops(self) -> int:
        """Floating-point operations of any one of forward, dx and dw."""
        return 2 * self.N * self.O * self.F


def check_batch_axis(operation: str, batch_axis: Any) -> None:
    if isinstance(batch_axis, bool) or batch_axis not in (0, 1):
        raise value_error(operation, "batch_axis", repr(batch_axis), "0 (samples are rows) or 1 (columns)")

