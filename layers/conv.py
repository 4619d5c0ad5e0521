"""The convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import checks, relu_grad
from ..kernels.axis import parse_axes
from ..kernels.conv import checked
from ..kernels.conv.geometry import ConvGeometry, check_groups
from ..kernels.layout import NCHW, is_channels_last, to_channels_last
from ..kernels.types import A, Array, Padding, PerAxis
from .base import Layer, Parameter, add_grads, float_dtype, uniform


class _Conv(Layer):
    """Along `rank` axes."""

    operation = "conv"
    rank: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        layout: str = NCHW,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        name = type(self).__name__
        in_channels = checks.integer(name, "in_channels", in_channels, 1)
        out_channels = checks.integer(name, "out_channels", out_channels, 1)
        kernel = checks.per_axis(name, "kernel_size", kernel_size, self.rank, 1)
        groups = check_groups(name, groups, in_channels, out_channels)
        parse_axes(name, kernel, kernel, stride, padding, dilation)

        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.activation = checks.activation(name, activation)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        last = is_channels_last(name, layout)
        self.options = {name: checks.fixed(value) for name, value in options.items()} | {"layout": layout}
        self.weight, self.bias = parameters(
            (out_channels, in_channels // groups, *kernel),
            out_channels if bias else None,
            last,
            float_dtype(name, dtype),
            rng,
        )

    def forward(self, x: A) -> A:
        bias = None if self.bias is None else self.bias.data
        y = checked.conv(self.rank, x, self.weight.data, bias, activation=self.activation, **self.options)
        self._keep((x if self.weight.requires_grad else None, x.shape, None if self.activation is None else y))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x, x_shape, y = self._kept()
        dy = dy if y is None else relu_grad(dy, y)
        weight, trains_bias = self.weight.data, self.bias is not None and self.bias.requires_grad
        dx = dw = db = None
        if x is not None and trains_bias:
            if needs_input_grad:
                dx, dw, db = checked.grads(self.rank, dy, x, weight, **self.options)
            else:
                dw, db = checked.parameter_grads(self.rank, dy, x, weight.shape, **self.options)
        else:
            dx = checked.input_grad(self.rank, dy, weight, x_shape, **self.options) if needs_input_grad else None
            dw = checked.weight_grad(self.rank, dy, x, weight.shape, **self.options) if x is not None else None
            db = checked.bias_grad(self.rank, dy, self.options["layout"]) if trains_bias else None
        add_grads((self.weight, dw), (self.bias, db))
        return dx

    def geometry(self, x_shape: tuple[int, ...]) -> ConvGeometry:
        options = {"activation": self.activation, **self.options}
        return ConvGeometry.of(f"conv{self.rank}d", x_shape, self.weight.data.shape, rank=self.rank, **options)

    def __repr__(self) -> str:
        return describe(self, self.in_channels, self.out_channels, self.kernel_size, activation=self.activation)


def parameters(
    shape: tuple[int, ...],
    channels: int | None,
    channels_last: bool,
    dtype: np.dtype,
    rng: np.random.Generator | int | None,
) -> tuple[Parameter, Parameter | None]:
    """A weight of this shape (K, C/groups, *R), and a bias of so many channels (None: no bias), as PyTorch initialises
    them. With channels last they are the same numbers, the weight's in (K, *R, C/groups)."""
    rng, fan_in = np.random.default_rng(rng), int(np.prod(shape[1:]))
    drawn = uniform(rng, shape, fan_in, dtype)
    weight = Parameter(to_channels_last(drawn).copy() if channels_last else drawn)
    if channels is None:
        return weight, None
    column = (channels,) if channels_last else (channels, *(1 for _ in shape[2:]))
    return weight, Parameter(uniform(rng, column, fan_in, dtype), (channels,))


def describe(layer: Any, *shape: Any, **more: Any) -> str:
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "layout": NCHW}
    given = {**layer.options, **more}.items()
    options = "".join(f", {name}={value!r}" for name, value in given if value != defaults.get(name))
    bias = "" if layer.bias is not None else ", bias=False"
    return f"{type(layer).__name__}({', '.join(map(str, shape))}{options}{bias})"


class Conv1d(_Conv):
    """1-D convolution: x (N, C, W) -> y (N, K, Q), C = in_channels, K = out_channels.

    kernel_size, stride, dilation: an int or a (w,) tuple. padding: an int, (w,), ((left, right),), 'valid' or 'same'.
    dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or a seed; None draws a fresh one. weight is
    (K, C/groups, S), bias (K, 1) or None. activation="relu": y is max(y, 0). layout="NHWC": x is (N, W, C), y (N, Q,
    K), weight (K, S, C/groups), in state_dict too, and bias (K,).
    """

    rank = 1


class Conv2d(_Conv):
    """2-D convolution: x (N, C, H, W) -> y (N, K, P, Q), C = in_channels, K = out_channels.

    kernel_size, stride, dilation: an int or an (h, w) pair. padding: an int, (h, w), ((top, bottom), (left, right)),
    'valid' or 'same'. dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or a seed; None draws a
    fresh one. weight is (K, C/groups, R, S), bias (K, 1, 1) or None. activation="relu": y is max(y, 0). layout="NHWC":
    x is (N, H, W, C), y (N, P, Q, K), weight (K, R, S, C/groups), in state_dict too, and bias (K,).
    """

    rank = 2


class Conv3d(_Conv):
    """3-D convolution: x (N, C, D, H, W) -> y (N, K, Z, P, Q), C = in_channels, K = out_channels.

    kernel_size, stride, dilation: an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front, back), (top,
    bottom), (left, right)), 'valid' or 'same'. dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or
    a seed; None draws a fresh one. weight is (K, C/groups, T, R, S), bias (K, 1, 1, 1) or None. activation="relu": y is
    max(y, 0). layout="NHWC": x is (N, D, H, W, C), y (N, Z, P, Q, K), weight (K, T, R, S, C/groups), in state_dict too,
    and bias (K,).
    """

    rank = 3
