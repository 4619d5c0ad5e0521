"""The shape of a convolution: its extents and window, the checks on them, and its output size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .. import checks
from ..axis import Axis, Windowed, check_extents, check_fits, parse_axes, parse_transposed_axes
from ..checks import value_error
from ..kept import hashed_once, kept


@hashed_once
@dataclass(frozen=True)
class ConvGeometry(Windowed):
    """The extents and windows of one convolution, whichever of its operations is computed."""

    N: int
    C: int
    K: int
    groups: int
    axes: tuple[Axis, ...]

    @classmethod
    @kept
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
        rank: int = 2,
    ) -> ConvGeometry:
        """Geometry of a convolution of an input of x_shape with weights of w_shape, along `rank` axes.

        `names` are what the caller's arguments are called in messages. ValueError where a shape or option is
        wrong, or where no window fits.
        """
        n, c, *extents = checks.shape(operation, names[0], x_shape, ("N", "C", *"DHW"[-rank:]))
        k, group_channels, *taps = checks.shape(operation, names[1], w_shape, ("K", "C/groups", *"TRS"[-rank:]))
        groups = check_groups(operation, groups, c, k)
        _check_kernel(operation, names[1], k, taps)
        if group_channels != c // groups:
            got = f"{tuple(w_shape)} (axis 1 is {group_channels})"
            expected = f"axis 1 to be C/groups = {c}/{groups} = {c // groups}, with C from {names[0]}"
            raise value_error(operation, names[1], got, expected)
        check_extents(operation, names[0], extents)
        axes = parse_axes(operation, extents, taps, stride, padding, dilation)
        check_fits(operation, axes)
        return cls(n, c, k, groups, axes)

    @classmethod
    @kept
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
        rank: int = 2,
    ) -> ConvGeometry:
        """Geometry of the convolution whose input gradient a transposed convolution is.

        x_shape is that convolution's output shape and the transposed result has its input shape:
        H = (P-1)*stride - padding + dilation*(R-1) + output_padding + 1 (PyTorch, ConvTranspose2d).
        """
        n, k, *windows = checks.shape(operation, "x.shape", x_shape, ("N", "C", *"DHW"[-rank:]))
        rows, group_channels, *taps = checks.shape(operation, "w.shape", w_shape, ("C", "K/groups", *"TRS"[-rank:]))
        if rows != k:
            raise value_error(operation, "w.shape", tuple(w_shape), f"axis 0 to be C = {k}, from x.shape")
        groups = checks.integer(operation, "groups", groups, 1)
        c = group_channels * groups
        check_groups(operation, groups, k, c)
        _check_kernel(operation, "w.shape", c, taps)
        check_extents(operation, "x.shape", windows)
        axes = parse_transposed_axes(operation, windows, taps, stride, padding, output_padding, dilation)
        return cls(n, c, k, groups, axes)

    @classmethod
    @kept
    def of_output(cls, operation: str, y_shape: Any, *, rank: int = 2) -> ConvGeometry:
        """Geometry of the 1x1 convolution that has this output: a bias gradient depends on nothing else."""
        n, k, *windows = checks.shape(operation, "dy.shape", y_shape, ("N", "K", *"ZPQ"[-rank:]))
        return cls.pointwise(n, k, k, *windows)

    @classmethod
    def pointwise(cls, n: int, c: int, k: int, *extents: int) -> ConvGeometry:
        """Geometry of a 1x1 convolution: at every position k products with its c channels."""
        return cls(n, c, k, 1, tuple(map(Axis.of_points, extents)))

    @property
    def w_shape(self) -> tuple[int, ...]:
        return self.K, self.C // self.groups, *self.kernel_size

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.N, self.K, *self.windows

    @property
    def b_shape(self) -> tuple[int, ...]:
        """The bias's, as the layers keep it; (K,) is the same bias."""
        return self.K, *(1 for _ in self.axes)

    @property
    def output_padding(self) -> tuple[int, ...]:
        """conv_transpose2d's: rows and columns of x beyond those that this many windows with this padding ask for."""
        return tuple(axis.unread for axis in self.axes)

    @property
    def flops(self) -> int:
        """Floating-point operations of any one of forward, dx and dw: a multiply and an add per product."""
        return 2 * math.prod(self.y_shape) * math.prod(self.w_shape[1:])

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 window that visits every pixel: x and y then are matrices of channels by pixels."""
        return all(
            (axis.taps, axis.stride, axis.before) == (1, 1, 0) and axis.windows == axis.extent for axis in self.axes
        )

    @cached_property
    def with_row(self) -> ConvGeometry:
        """Of lines: the same as images of one row."""
        return replace(self, axes=(Axis.of_points(1), *self.axes))

    @property
    def reversed(self) -> ConvGeometry:
        """The convolution of dy that the input gradient is, where every stride is 1."""
        (axes,) = itertools.product(*(axis.classes() for axis in self.axes))
        return replace(self, C=self.K, K=self.C, axes=tuple(residue.gradient for residue in axes))


def check_groups(operation: str, groups: Any, c: int, k: int) -> int:
    groups = checks.integer(operation, "groups", groups, 1)
    if c % groups or k % groups:
        raise value_error(operation, "groups", groups, f"a divisor of C = {c} and K = {k}")
    return groups


def _check_kernel(operation: str, argument: str, k: int, taps: Sequence[int]) -> None:
    if min(k, *taps) < 1:
        extents = ", ".join(f"{name}={extent}" for name, extent in zip("TRS"[-len(taps) :], taps, strict=True))
        raise value_error(operation, argument, f"K={k}, {extents}", "each at least 1")
