"""The shape of a convolution: its extents and window, the checks on them, and its output size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import checks
from ..axis import Shape4, Window, check_extents, check_fits, kept
from ..checks import Padding, Pair, value_error


@dataclass(frozen=True)
class ConvGeometry:
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
    ) -> ConvGeometry:
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
        check_extents(operation, names[0], (h, w))
        window = Window.parse(operation, (h, w), (r, s), stride, padding, dilation)
        p, q = window.count(0, h), window.count(1, w)
        check_fits(operation, window, (h, w), (p, q))
        return cls(n, c, h, w, k, r, s, p, q, window.stride, window.padding, window.dilation, groups)

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
    ) -> ConvGeometry:
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
        check_extents(operation, "x.shape", (p, q))
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

    @classmethod
    @kept
    def of_output(cls, operation: str, y_shape: Any) -> ConvGeometry:
        """Geometry of the 1x1 convolution that has this output: a bias gradient depends on nothing else."""
        n, k, p, q = checks.shape4(operation, "dy.shape", y_shape, "(N, K, P, Q)")
        return cls(n, k, p, q, k, 1, 1, p, q, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)

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
    def b_shape(self) -> tuple[int, int, int]:
        """The bias's, as the layers keep it; (K,) is the same bias."""
        return self.K, 1, 1

    @property
    def output_padding(self) -> Pair:
        """conv_transpose2d's: rows and columns of x beyond those that this many windows with this padding ask for."""
        extents, kernel, windows = (self.H, self.W), (self.R, self.S), (self.P, self.Q)
        axes = zip(extents, kernel, windows, self.stride, self.padding, self.dilation, strict=True)
        h, w = (
            extent + sum(padding) - ((count - 1) * stride + dilation * (taps - 1) + 1)
            for extent, taps, count, stride, padding, dilation in axes
        )
        return h, w

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
