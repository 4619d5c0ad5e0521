"""A fully connected layer and its gradients, with samples as rows (batch_axis=0) or as columns (batch_axis=1)."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A
from .geometry import LinearGeometry
from .path import LinearPath

_call = Paths[LinearPath]("linear").call


def linear(x: A, w: A, b: A | None = None, *, batch_axis: int = 0, activation: str | None = None) -> A:
    """A fully connected layer: y = x wᵀ + b, or y = w x + b with samples as columns; then perhaps an activation.

    w: (O, F). batch_axis=0: x (N, F), b (O,) or None, y (N, O). batch_axis=1 (samples are columns): x (F, N), b (O,) or
    (O, 1) or None, y (O, N). activation: None, or 'relu' for max(y, 0); y has the bits of a separate call of relu.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> linear(np.ones((2, 3)), np.ones((4, 3)), np.ones(4)).shape
    (2, 4)
    >>> linear(np.ones((1, 3)), np.eye(2, 3), np.array([1.0, -2.0]), activation="relu")
    array([[2., 0.]])
    """
    return _call("linear", _linear, (x, w, b), batch_axis, activation)


def _linear(x: Any, w: Any, b: Any, batch_axis: int, activation: str | None) -> tuple[Any, ...]:
    x, w, b = checks.arrays("linear", x=x, w=w, b=b)
    geometry = LinearGeometry.of("linear", batch_axis, w_shape=w.shape, x_shape=x.shape, activation=activation)
    checks.bias("linear", b, geometry.O, geometry.b_shape)
    return x, w, b, geometry


def linear_input_grad(dy: A, w: A, *, batch_axis: int = 0) -> A:
    """The gradient of linear with respect to its input: dx = dy w, or dx = wᵀ dy with samples as columns.

    dy: (N, O), or (O, N) with batch_axis=1. w: (O, F). Returns dx (N, F) or (F, N).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> linear_input_grad(np.ones((2, 4)), np.ones((4, 3))).shape
    (2, 3)
    """
    return _call("linear_input_grad", _input_grad, (dy, w), batch_axis)


def _input_grad(dy: Any, w: Any, batch_axis: int) -> tuple[Any, ...]:
    dy, w = checks.arrays("linear_input_grad", dy=dy, w=w)
    return dy, w, LinearGeometry.of("linear_input_grad", batch_axis, w_shape=w.shape, dy_shape=dy.shape)


def linear_weight_grad(dy: A, x: A, *, batch_axis: int = 0) -> A:
    """The gradient of linear with respect to its weights: dw = dyᵀ x, or dw = dy xᵀ with samples as columns.

    dy: (N, O), or (O, N) with batch_axis=1. x: (N, F) or (F, N). Returns dw (O, F).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> linear_weight_grad(np.ones((2, 4)), np.ones((2, 3)))[0]
    array([2., 2., 2.])
    """
    return _call("linear_weight_grad", _parameter_grads, (dy, x), "linear_weight_grad", batch_axis)


def linear_bias_grad(dy: A, *, batch_axis: int = 0) -> A:
    """The gradient of linear with respect to its bias: the sum of dy over its samples.

    dy: (N, O), or (O, N) with batch_axis=1. Returns db (O,), or (O, 1) with batch_axis=1.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> linear_bias_grad(np.ones((2, 4)))
    array([2., 2., 2., 2.])
    """
    return _call("linear_bias_grad", _bias_grad, (dy,), batch_axis)


def _bias_grad(dy: Any, batch_axis: int) -> tuple[Any, ...]:
    (dy,) = checks.arrays("linear_bias_grad", dy=dy)
    return dy, LinearGeometry.of_output("linear_bias_grad", batch_axis, dy.shape)


def linear_parameter_grads(dy: A, x: A, *, batch_axis: int = 0) -> tuple[A, A]:
    """(dw, db) of linear_weight_grad and linear_bias_grad; on CUDA one product computes both.

    dy: (N, O), or (O, N) with batch_axis=1. x: (N, F) or (F, N). Returns dw (O, F) and db (O,) or (O, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dw, db = linear_parameter_grads(np.ones((2, 4)), np.ones((2, 3)))
    >>> dw.shape, db.shape
    ((4, 3), (4,))
    """
    dw, db = _call("linear_parameter_grads", _parameter_grads, (dy, x), "linear_parameter_grads", batch_axis)
    return dw, db


def _parameter_grads(dy: Any, x: Any, operation: str, batch_axis: int) -> tuple[Any, ...]:
    dy, x = checks.arrays(operation, dy=dy, x=x)
    return dy, x, LinearGeometry.of_gradient(operation, batch_axis, dy.shape, x.shape)


def linear_grads(dy: A, x: A, w: A, *, batch_axis: int = 0) -> tuple[A, A, A]:
    """(dx, dw, db) of linear_input_grad, linear_weight_grad and linear_bias_grad; on CUDA by one kernel where they are
    tiny.

    dy: (N, O), or (O, N) with batch_axis=1. x: (N, F) or (F, N). w: (O, F). Returns dx and dw, shaped as x and w, and
    db (O,) or (O, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dx, dw, db = linear_grads(np.ones((2, 4)), np.ones((2, 3)), np.ones((4, 3)))
    >>> dx.shape, dw.shape, db.shape
    ((2, 3), (4, 3), (4,))
    """
    dx, dw, db = _call("linear_grads", _grads, (dy, x, w), batch_axis)
    return dx, dw, db


def _grads(dy: Any, x: Any, w: Any, batch_axis: int) -> tuple[Any, ...]:
    operation = "linear_grads"
    dy, x, w = checks.arrays(operation, dy=dy, x=x, w=w)
    geometry = LinearGeometry.of(operation, batch_axis, w_shape=w.shape, x_shape=x.shape)
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, O)" if batch_axis == 0 else "(O, N)")
    return dy, x, w, geometry
