"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import on_device
from ..kernels import (
    checks,
    linear,
    linear_bias_grad,
    linear_grads,
    linear_input_grad,
    linear_parameter_grads,
    linear_weight_grad,
    relu_grad,
)
from ..kernels.linear.geometry import LinearGeometry, check_batch_axis
from ..kernels.types import A, Array
from .base import Layer, Parameter, add_grads, float_dtype, uniform


class Linear(Layer):
    """Fully connected: F = in_features -> O = out_features.

    batch_axis=0: x (N, F) -> y (N, O), bias (O,). batch_axis=1 (samples are columns): x (F, N) -> y (O, N), bias
    (O, 1). In both, an x of more than two axes is (N, ...), is flattened to its N samples of F, and dx has its shape;
    a Flatten before batch_axis=1 would be wrong, since two axes mean (F, N) there. weight is (O, F). activation="relu":
    y is max(y, 0). dtype and rng as for Conv2d.
    """

    operation = "linear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        batch_axis: int = 0,
        activation: str | None = None,
        dtype: Any = "float32",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        in_features = checks.integer("Linear", "in_features", in_features, 1)
        out_features = checks.integer("Linear", "out_features", out_features, 1)
        check_batch_axis("Linear", batch_axis)
        dtype = float_dtype("Linear", dtype)
        rng = np.random.default_rng(rng)

        self.in_features, self.out_features, self.batch_axis = in_features, out_features, batch_axis
        self.activation = checks.activation("Linear", activation)
        self.weight = Parameter(uniform(rng, (out_features, in_features), in_features, dtype))
        shape = (out_features,) if batch_axis == 0 else (out_features, 1)
        self.bias = Parameter(uniform(rng, shape, in_features, dtype), (out_features,)) if bias else None

    def forward(self, x: A) -> A:
        (x,) = checks.arrays("linear", x=x)
        samples = self._as_matrix(x)
        bias = None if self.bias is None else self.bias.data
        y = linear(samples, self.weight.data, bias, batch_axis=self.batch_axis, activation=self.activation)
        kept = samples if self.weight.requires_grad else None
        self._keep((kept, x.shape, None if self.activation is None else y))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        samples, x_shape, y = self._kept()
        dx = self._gradients(dy if y is None else relu_grad(dy, y), samples, needs_input_grad)
        if dx is None:
            return None
        with on_device(dx):
            return (dx.T if len(x_shape) > 2 and self.batch_axis == 1 else dx).reshape(x_shape)

    def _gradients(self, dy: Any, samples: Any, needs_input_grad: bool) -> Any:
        """Adds dw and db to the parameters' gradients; returns dx as a matrix, or None."""
        weight, axis = self.weight.data, self.batch_axis
        trains_bias = self.bias is not None and self.bias.requires_grad
        dx = dw = db = None
        if samples is not None and trains_bias:
            if needs_input_grad:
                dx, dw, db = linear_grads(dy, samples, weight, batch_axis=axis)
            else:
                dw, db = linear_parameter_grads(dy, samples, batch_axis=axis)
        else:
            dx = linear_input_grad(dy, weight, batch_axis=axis) if needs_input_grad else None
            dw = linear_weight_grad(dy, samples, batch_axis=axis) if samples is not None else None
            db = linear_bias_grad(dy, batch_axis=axis) if trains_bias else None
        add_grads((self.weight, dw), (self.bias, db))
        return dx

    def _as_matrix(self, x: Any) -> Any:
        """x as the kernels take it: (N, F), or (F, N) with batch_axis=1."""
        if x.ndim <= 2:
            return x
        with on_device(x):
            rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return rows if self.batch_axis == 0 else rows.T

    def geometry(self, x_shape: tuple[int, ...]) -> LinearGeometry:
        if len(x_shape) > 2:
            samples, features = x_shape[0], math.prod(x_shape[1:])
            x_shape = (samples, features) if self.batch_axis == 0 else (features, samples)
        shapes = {"w_shape": self.weight.data.shape, "x_shape": x_shape}
        return LinearGeometry.of(self.operation, self.batch_axis, activation=self.activation, **shapes)

    def __repr__(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        axis = "" if self.batch_axis == 0 else ", batch_axis=1"
        activation = "" if self.activation is None else f", activation={self.activation!r}"
        return f"Linear({self.in_features}, {self.out_features}{bias}{axis}{activation})"
