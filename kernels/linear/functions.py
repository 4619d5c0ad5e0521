"""A fully connected layer and its gradients, with samples as rows (batch_axis=0) or as columns (batch_axis=1).

w is (O, F). batch_axis=0: x (N, F), y (N, O), b (O,). batch_axis=1: x (F, N), y (O, N), b (O, 1). All arrays of a call
share one dtype: float16, bfloat16, float32 or float64; 16-bit accumulates in float32 and rounds once. Every function
raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from .geometry import LinearGeometry
from .path import LinearPath

path_of = Paths[LinearPath]("linear").of


def linear(x: Any, w: Any, b: Any = None, *, batch_axis: int = 0) -> Any:
    """y = x wᵀ + b, or y = w x + b with samples as columns.

    b: (O,), or (O, 1) with batch_axis=1, or None. Returns y (N, O) or (O, N).
    """
    checks.arrays("linear", x=x, w=w, b=b)
    geometry = LinearGeometry.of("linear", batch_axis, w_shape=w.shape, x_shape=x.shape)
    checks.bias("linear", b, geometry.O, geometry.b_shape)
    return path_of(x).linear(x, w, b, geometry)


def linear_input_grad(dy: Any, w: Any, *, batch_axis: int = 0) -> Any:
    """dx = dy w, or dx = wᵀ dy with samples as columns. Returns dx (N, F) or (F, N)."""
    checks.arrays("linear_input_grad", dy=dy, w=w)
    geometry = LinearGeometry.of("linear_input_grad", batch_axis, w_shape=w.shape, dy_shape=dy.shape)
    return path_of(dy).linear_input_grad(dy, w, geometry)


def linear_weight_grad(dy: Any, x: Any, *, batch_axis: int = 0) -> Any:
    """dw = dyᵀ x, or dw = dy xᵀ with samples as columns. Returns dw (O, F)."""
    checks.arrays("linear_weight_grad", dy=dy, x=x)
    geometry = LinearGeometry.of_gradient("linear_weight_grad", batch_axis, dy.shape, x.shape)
    return path_of(dy).linear_weight_grad(dy, x, geometry)


def linear_bias_grad(dy: Any, *, batch_axis: int = 0) -> Any:
    """db = the sum of dy over its samples. Returns db (O,), or (O, 1) with batch_axis=1."""
    checks.arrays("linear_bias_grad", dy=dy)
    geometry = LinearGeometry.of_output("linear_bias_grad", batch_axis, dy.shape)
    return path_of(dy).linear_bias_grad(dy, geometry)


def linear_parameter_grads(dy: Any, x: Any, *, batch_axis: int = 0) -> tuple[Any, Any]:
    """(dw, db) of linear_weight_grad and linear_bias_grad; on CUDA one product computes both."""
    checks.arrays("linear_parameter_grads", dy=dy, x=x)
    geometry = LinearGeometry.of_gradient("linear_parameter_grads", batch_axis, dy.shape, x.shape)
    dw, db = path_of(dy).linear_parameter_grads(dy, x, geometry)
    return dw, db


def linear_grads(dy: Any, x: Any, w: Any, *, batch_axis: int = 0) -> tuple[Any, Any, Any]:
    """(dx, dw, db) of linear_input_grad, linear_weight_grad and linear_bias_grad; on CUDA by one kernel where they are
    tiny."""
    operation = "linear_grads"
    checks.arrays(operation, dy=dy, x=x, w=w)
    geometry = LinearGeometry.of(operation, batch_axis, w_shape=w.shape, x_shape=x.shape)
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, O)" if batch_axis == 0 else "(O, N)")
    dx, dw, db = path_of(dy).linear_grads(dy, x, w, geometry)
    return dx, dw, db
