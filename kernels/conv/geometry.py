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
from ..layout import NCHW, image, is_channels_last, shape


@hashed_once
@dataclass(frozen=True)
class ConvGeometry(Windowed):
    """The extents and windows of one convolution, whichever of its operations is computed.

    activation: what the forward operation ends with, "relu" or None.
    """

    N: int
    C: int
    K: int
    groups: int
    axes: tuple[Axis, ...]
    channels_last: bool = False
    activation: str | None = None

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
        activation: Any = None,
        layout: Any = NCHW,
        names: tuple[str, str] = ("x.shape", "w.shape"),
        rank: int = 2,
    ) -> ConvGeometry:
        """Geometry of a convolution of an input of x_shape with weights of w_shape, along `rank` axes.

        `names` are what the caller's arguments are called in messages. ValueError where a shape or option is
        wrong, or where no window fits.
        """
        last = is_channels_last(operation, layout)
        n, c, *extents = image(operation, names[0], x_shape, rank, last)
        k, group_channels, *taps = shape(operation, names[1], w_shape, ("K", "C/groups", *"TRS"[-rank:]), last)
        groups = check_groups(operation, groups, c, k)
        _check_kernel(operation, names[1], k, taps)
        if group_channels != c // groups:
            axis = rank + 1 if last else 1
            got = f"{tuple(w_shape)} (axis {axis} is {group_channels})"
            expected = f"axis {axis} to be C/groups = {c}/{groups} = {c // groups}, with C from {names[0]}"
            raise value_error(operation, names[1], got, expected)
        check_extents(operation, names[0], extents)
        axes = parse_axes(operation, extents, taps, stride, padding, dilation)
        check_fits(operation, axes)
        return cls(n, c, k, groups, axes, last, checks.activation(operation, activation))

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
        layout: Any = NCHW,
        rank: int = 2,
    ) -> ConvGeometry:
        """Geometry of the convolution whose input gradient a transposed convolution is.

        x_shape is that convolution's output shape and the transposed result has its input shape:
        H = (P-1)*stride - padding + dilation*(R-1) + output_padding + 1 (PyTorch, ConvTranspose2d).
        """
        last = is_channels_last(operation, layout)
        n, k, *windows = image(operation, "x.shape", x_shape, rank, last)
        rows, group_channels, *taps = shape(operation, "w.shape", w_shape, ("C", "K/groups", *"TRS"[-rank:]), last)
        if rows != k:
            raise value_error(operation, "w.shape", tuple(w_shape), f"axis 0 to be C = {k}, from x.shape")
        groups = checks.integer(operation, "groups", groups, 1)
        c = group_channels * groups
        check_groups(operation, groups, k, c)
        _check_kernel(operation, "w.shape", c, taps)
        check_extents(operation, "x.shape", windows)
        axes = parse_transposed_axes(operation, windows, taps, stride, padding, output_padding, dilation)
        return cls(n, c, k, groups, axes, last)

    @classmethod
    @kept
    def of_output(cls, operation: str, y_shape: Any, *, layout: Any = NCHW, rank: int = 2) -> ConvGeometry:
        """Geometry of the 1x1 convolution that has this output: a bias gradient depends on nothing else."""
        last = is_channels_last(operation, layout)
        n, k, *windows = shape(operation, "dy.shape", y_shape, ("N", "K", *"ZPQ"[-rank:]), last)
        return replace(cls.pointwise(n, k, k, *windows), channels_last=last)

    @classmethod
    def pointwise(cls, n: int, c: int, k: int, *extents: int) -> ConvGeometry:
        """Geometry of a 1x1 convolution: at every position k products with its c channels."""
        return cls(n, c, k, 1, tuple(map(Axis.of_points, extents)))

    @property
    def w_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.K, self.C // self.groups, *self.kernel_size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.in_layout(self.N, self.K, *self.windows)

    @property
    def b_shape(self) -> tuple[int, ...]:
        """The bias's, as the layers keep it; (K,) is the same bias."""
        return self._bias(self.K)

    @property
    def transposed_b_shape(self) -> tuple[int, ...]:
        """conv_transpose's, whose outputs have C channels."""
        return self._bias(self.C)

    def _bias(self, channels: int) -> tuple[int, ...]:
        """As it is broadcast to an output, of which channels are the last axis or the second."""
        return (channels,) if self.channels_last else (channels, *(1 for _ in self.axes))

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
    def of_one_image(self) -> ConvGeometry:
        return replace(self, N=1)

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
