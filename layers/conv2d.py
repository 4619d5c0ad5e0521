"""The convolution layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import (
    checks,
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
)
from ..kernels.axis import parse_axes
from ..kernels.conv.geometry import ConvGeometry, check_groups
from ..kernels.types import A, Array, IntOrPair, Padding
from .base import Layer, Parameter, add_grads, float_dtype, uniform


class Conv2d(Layer):
    """2-D convolution: x (N, C, H, W) -> y (N, K, P, Q), C = in_channels, K = out_channels.

    kernel_size, stride, dilation: an int or an (h, w) pair. padding: an int, (h, w), ((top, bottom), (left, right)),
    'valid' or 'same'. dtype: float16, bfloat16, float32 or float64. rng: a numpy Generator or a seed; None draws a
    fresh one. weight is (K, C/groups, R, S), bias (K, 1, 1) or None.
    """

    operation = "conv"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        in_channels = checks.integer("Conv2d", "in_channels", in_channels, 1)
        out_channels = checks.integer("Conv2d", "out_channels", out_channels, 1)
        kernel = checks.per_axis("Conv2d", "kernel_size", kernel_size, 2, 1)
        groups = check_groups("Conv2d", groups, in_channels, out_channels)
        parse_axes("Conv2d", kernel, kernel, stride, padding, dilation)
        dtype = float_dtype("Conv2d", dtype)
        rng = np.random.default_rng(rng)

        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.options = {name: checks.fixed(value) for name, value in options.items()}
        shape = (out_channels, in_channels // groups, *kernel)
        fan_in = shape[1] * shape[2] * shape[3]
        self.weight = Parameter(uniform(rng, shape, fan_in, dtype))
        self.bias = Parameter(uniform(rng, (out_channels, 1, 1), fan_in, dtype), (out_channels,)) if bias else None

    def forward(self, x: A) -> A:
        y = conv2d(x, self.weight.data, None if self.bias is None else self.bias.data, **self.options)
        self._keep((x if self.weight.requires_grad else None, x.shape))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x, x_shape = self._kept()
        weight, trains_bias = self.weight.data, self.bias is not None and self.bias.requires_grad
        dx = dw = db = None
        if x is not None and trains_bias:
            if needs_input_grad:
                dx, dw, db = conv2d_grads(dy, x, weight, **self.options)
            else:
                dw, db = conv2d_parameter_grads(dy, x, weight.shape, **self.options)
        else:
            dx = conv2d_input_grad(dy, weight, x_shape, **self.options) if needs_input_grad else None
            dw = conv2d_weight_grad(dy, x, weight.shape, **self.options) if x is not None else None
            db = conv2d_bias_grad(dy) if trains_bias else None
        add_grads((self.weight, dw), (self.bias, db))
        return dx

    def geometry(self, x_shape: tuple[int, ...]) -> ConvGeometry:
        return ConvGeometry.of("conv2d", x_shape, self.weight.data.shape, **self.options)

    def __repr__(self) -> str:
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        options = "".join(f", {k}={v!r}" for k, v in self.options.items() if v != defaults[k])
        bias = "" if self.bias is not None else ", bias=False"
        return f"Conv2d({self.in_channels}, {self.out_channels}, {self.kernel_size}{options}{bias})"
