"""Activations and their gradients, as cupy.cudnn had them."""

from __future__ import annotations

from ...backend import get_array_module, quietly
from ...kernels import checks, relu, relu_grad, sigmoid, sigmoid_grad, tanh, tanh_grad
from ...kernels.checks import value_error
from ...kernels.dtypes import accumulation_dtype
from ...kernels.types import A
from .library import (
    CUDNN_ACTIVATION_CLIPPED_RELU,
    CUDNN_ACTIVATION_ELU,
    CUDNN_ACTIVATION_RELU,
    CUDNN_ACTIVATION_SIGMOID,
    CUDNN_ACTIVATION_TANH,
)

_KERNELS = {
    CUDNN_ACTIVATION_SIGMOID: (sigmoid, sigmoid_grad),
    CUDNN_ACTIVATION_RELU: (relu, relu_grad),
    CUDNN_ACTIVATION_TANH: (tanh, tanh_grad),
}


@quietly
def activation_forward(x: A, mode: int, coef: float = 0.0) -> A:
    """An activation of every element of x.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once. mode: CUDNN_ACTIVATION_SIGMOID, _RELU, _TANH, _CLIPPED_RELU, that is min(max(x, 0), coef), or _ELU, that is x
    where x > 0 and coef * (exp(x) - 1) elsewhere. NaN stays NaN.
    Returns y, of x's shape and dtype. Raises ValueError for another mode and TypeError for dtypes and array kinds,
    before any work.

    >>> import numpy as np
    >>> activation_forward(np.array([-2.0, 3.0]), CUDNN_ACTIVATION_CLIPPED_RELU, 2.0)
    array([0., 2.])
    """
    name = "activation_forward"
    (x,) = checks.arrays(name, x=x)
    if _check_mode(name, mode) in _KERNELS:
        return _KERNELS[mode][0](x)
    library, exact = get_array_module(x), x.astype(accumulation_dtype(x.dtype), copy=False)  # type: ignore[attr-defined]
    if mode == CUDNN_ACTIVATION_ELU:
        y = library.where(exact > 0, exact, coef * library.expm1(exact))
    else:
        y = library.clip(exact, 0, coef)
    return y.astype(x.dtype, order="C", copy=False)


@quietly
def activation_backward(x: A, y: A, gy: A, mode: int, coef: float = 0.0) -> A:
    """The gradient of activation_forward with respect to x, from y alone.

    x: of y's shape and dtype, and not read otherwise. y: what activation_forward made of x. gy: the gradient of y, as
    y. mode, coef: as activation_forward's. Returns gx, as y: 0 where y is at a bound of _RELU or _CLIPPED_RELU.
    Raises ValueError for shapes and another mode and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y = np.array([0.0, 1.5, 2.0])
    >>> activation_backward(y, y, np.ones(3), CUDNN_ACTIVATION_CLIPPED_RELU, 2.0)
    array([0., 1., 0.])
    """
    name = "activation_backward"
    x, y, gy = checks.arrays(name, x=x, y=y, gy=gy)
    checks.has_shape(name, "y", y, x.shape, "x.shape")
    checks.has_shape(name, "gy", gy, x.shape, "x.shape")
    if _check_mode(name, mode) in _KERNELS:
        return _KERNELS[mode][1](gy, y)
    library, dtype = get_array_module(y), accumulation_dtype(y.dtype)
    value, gradient = (each.astype(dtype, copy=False) for each in (y, gy))  # type: ignore[attr-defined]
    if mode == CUDNN_ACTIVATION_ELU:
        gx = library.where(value > 0, gradient, gradient * (value + coef))
    else:
        gx = library.where((value <= 0) | (value >= coef), 0, gradient)
    return gx.astype(y.dtype, order="C", copy=False)


def _check_mode(function: str, mode: int) -> int:
    if mode not in (*_KERNELS, CUDNN_ACTIVATION_CLIPPED_RELU, CUDNN_ACTIVATION_ELU):
        raise value_error(function, "mode", mode, "CUDNN_ACTIVATION_SIGMOID, _RELU, _TANH, _CLIPPED_RELU or _ELU")
    return mode
