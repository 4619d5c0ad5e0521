"""The transposed convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import checks
from ..kernels.axis import parse_transposed_axes
from ..kernels.conv import checked
from ..kernels.conv.geometry import ConvGeometry, check_groups
from ..kernels.layout import NCHW, is_channels_last
from ..kernels.types import A, Array, Padding, PerAxis
from .base import Layer, add_grads, float_dtype
from .conv import describe, parameters


class _ConvTranspose(Layer):
    """Along `rank` axes."""

    operation = "conv_transpose"
    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        *,
        output_padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        layout: str = NCHW,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        name = type(self).__name__
        in_channels = checks.integer(name, "in_channels", in_channels, 1)
        out_channels = checks.integer(name, "out_channels", out_channels, 1)
        kernel = checks.per_axis(name, "kernel_size", kernel_size, self.rank, 1)
        groups = check_groups(name, groups, in_channels, out_channels)
        # on as many windows as any padding leaves something of
        sides = checks.explicit_padding(name, padding, self.rank)
        windows = [before + after + 1 for before, after in sides]
        parse_transposed_axes(name, windows, kernel, stride, padding, output_padding, dilation)

        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        window = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
        last = is_channels_last(name, layout)
        self.options = {name: checks.fixed(value) for name, value in window.items()}
        self.options |= {"groups": groups, "layout": layout}
        self.weight, self.bias = parameters(
            (in_channels, out_channels // groups, *kernel),
            out_channels if bias else None,
            last,
            float_dtype(name, dtype),
            rng,
        )

    def forward(self, x: A) -> A:
        bias = None if self.bias is None else self.bias.data
        y = checked.transpose(self.rank, x, self.weight.data, bias, **self.options)
        self._keep((x if self.weight.requires_grad else None, x.shape))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x, x_shape = self._kept()
        weight = self.weight.data
        dx = dw = db = None
        if needs_input_grad:
            dx = checked.transpose_input_grad(self.rank, dy, weight, x_shape, **self.options)
        if x is not None:
            dw = checked.transpose_weight_grad(self.rank, dy, x, weight.shape, **self.options)
        if self.bias is not None and self.bias.requires_grad:
            db = checked.bias_grad(self.rank, dy, self.options["layout"])
        add_grads((self.weight, dw), (self.bias, db))
        return dx

    def geometry(self, x_shape: tuple[int, ...]) -> ConvGeometry:
        return ConvGeometry.of_transposed(
            f"conv_transpose{self.rank}d", x_shape, self.weight.data.shape, rank=self.rank, **self.options
        )

    def __repr__(self) -> str:
        return describe(self, self.in_channels, self.out_channels, self.kernel_size)


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution: x (N, C, W) -> y (N, K, W'), C = in_channels, K = out_channels.

    W' = (W-1)*stride - left - right + dilation*(S-1) + output_padding + 1. kernel_size, stride, dilation,
    output_padding (less than stride or dilation): an int or a (w,) tuple. padding: an int, (w,) or ((left, right),).
    dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or a seed; None draws a fresh one. weight is
    (C, K/groups, S), bias (K, 1) or None. layout="NHWC": x is (N, W, C), y (N, W', K), weight (C, S, K/groups), in
    state_dict too, and bias (K,).
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution: x (N, C, H, W) -> y (N, K, H', W'), C = in_channels, K = out_channels.

    H' = (H-1)*stride - top - bottom + dilation*(R-1) + output_padding + 1, and W' likewise. kernel_size, stride,
    dilation, output_padding (less than stride or dilation): an int or an (h, w) pair. padding: an int, (h, w) or ((top,
    bottom), (left, right)). dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or a seed; None draws
    a fresh one. weight is (C, K/groups, R, S), bias (K, 1, 1) or None. layout="NHWC": x is (N, H, W, C), y
    (N, H', W', K), weight (C, R, S, K/groups), in state_dict too, and bias (K,).
    """

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution: x (N, C, D, H, W) -> y (N, K, D', H', W'), C = in_channels, K = out_channels.

    D' = (D-1)*stride - front - back + dilation*(T-1) + output_padding + 1, and H' and W' likewise. kernel_size, stride,
    dilation, output_padding (less than stride or dilation): an int or a (d, h, w) tuple. padding: an int, (d, h, w) or
    ((front, back), (top, bottom), (left, right)). dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator
    or a seed; None draws a fresh one. weight is (C, K/groups, T, R, S), bias (K, 1, 1, 1) or None. layout="NHWC": x is
    (N, D, H, W, C), y (N, D', H', W', K), weight (C, T, R, S, K/groups), in state_dict too, and bias (K,).
    """

    rank = 3
