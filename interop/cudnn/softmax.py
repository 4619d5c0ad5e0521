"""Softmax, its logarithm and their gradients, as cupy.cudnn had them."""

from __future__ import annotations

from ...kernels import checks, log_softmax, log_softmax_grad, softmax, softmax_grad
from ...kernels.checks import value_error
from ...kernels.types import A
from .library import CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_FAST, CUDNN_SOFTMAX_LOG


def softmax_forward(x: A, axis: int, algorithm: int) -> A:
    """Softmax along an axis of x, or its logarithm.

    x: of at least one axis, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and
    rounded once. axis: an int, negative ones counted from the end. algorithm: CUDNN_SOFTMAX_FAST and
    CUDNN_SOFTMAX_ACCURATE are the same, for x of any size; CUDNN_SOFTMAX_LOG is the logarithm.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> softmax_forward(np.array([[1000.0, 1000.0]]), 1, CUDNN_SOFTMAX_ACCURATE)
    array([[0.5, 0.5]])
    """
    name = "softmax_forward"
    (x,) = checks.arrays(name, x=x)
    return log_softmax(x, axis) if _is_log(name, algorithm) else softmax(x, axis)


def softmax_backward(y: A, gy: A, axis: int, algorithm: int) -> A:
    """The gradient of softmax_forward with respect to its input.

    y: what softmax_forward returned for this axis and algorithm. gy: of y's shape and dtype. axis, algorithm: as
    softmax_forward's. Returns gx, as y. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> softmax_backward(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0, CUDNN_SOFTMAX_FAST)
    array([ 0.25, -0.25])
    """
    name = "softmax_backward"
    y, gy = checks.arrays(name, y=y, gy=gy)
    checks.has_shape(name, "gy", gy, y.shape, "y.shape")
    return log_softmax_grad(gy, y, axis) if _is_log(name, algorithm) else softmax_grad(gy, y, axis)


def _is_log(function: str, algorithm: int) -> bool:
    if algorithm not in (CUDNN_SOFTMAX_FAST, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_LOG):
        raise value_error(function, "algorithm", algorithm, "one of CUDNN_SOFTMAX_FAST, _ACCURATE and _LOG")
    return algorithm == CUDNN_SOFTMAX_LOG
