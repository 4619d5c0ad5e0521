"""Batch normalization and its gradient, as cupy.cudnn had them."""

from __future__ import annotations

import math
from typing import Any

from ...backend import quietly
from ...kernels import batch_norm, batch_norm_grads, batch_norm_inference, checks
from ...kernels.checks import value_error
from ...kernels.dtypes import accumulation_dtype
from ...kernels.types import A, Array
from . import arguments
from .library import (
    CUDNN_BATCHNORM_PER_ACTIVATION,
    CUDNN_BATCHNORM_SPATIAL,
    CUDNN_BATCHNORM_SPATIAL_PERSISTENT,
    CUDNN_TENSOR_NCHW,
)

_MODES = (CUDNN_BATCHNORM_PER_ACTIVATION, CUDNN_BATCHNORM_SPATIAL, CUDNN_BATCHNORM_SPATIAL_PERSISTENT)


def batch_normalization_forward_training(
    x: A,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    mean: Array | None,
    inv_std: Array | None,
    eps: float,
    decay: float,
    is_for_conv2d: bool,
    cudnn_mode: int,
    debug: bool,
    d_layout: int = CUDNN_TENSOR_NCHW,
) -> Any:
    """batch_normalization_forward_training_ex without the first of its results: (y, mean, inv_std), or y alone where
    mean and inv_std are given.

    x, gamma, beta, running_mean, running_var, mean, inv_std, eps, decay, is_for_conv2d, cudnn_mode, debug and d_layout
    are that function's, and so are its errors: ValueError and TypeError.

    >>> import numpy as np
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> mode = CUDNN_BATCHNORM_PER_ACTIVATION
    >>> batch_normalization_forward_training(x, one, zero, zero, one, None, None, 0.0, 0.9, False, mode, False)
    (array([[-1.],
           [ 1.]]), array([2.]), array([1.]))
    """
    _, *found = batch_normalization_forward_training_ex(
        x,
        gamma,
        beta,
        running_mean,
        running_var,
        mean,
        inv_std,
        eps,
        decay,
        is_for_conv2d,
        cudnn_mode,
        debug,
        d_layout,
    )
    return tuple(found) if mean is None else found[0]


@quietly
def batch_normalization_forward_training_ex(
    x: A,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    mean: Array | None,
    inv_std: Array | None,
    eps: float,
    decay: float,
    is_for_conv2d: bool,
    cudnn_mode: int,
    debug: bool,
    d_layout: int = CUDNN_TENSOR_NCHW,
) -> tuple[Any, ...]:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var each channel's own over the batch, and running
    statistics that follow them.

    x: is_for_conv2d: (N, C, *X), normalised by channels, or, where cudnn_mode is CUDNN_BATCHNORM_PER_ACTIVATION, by
    elements of an image. Otherwise normalised by the elements of its last axis, in every mode. float16, bfloat16,
    float32 or float64, of NumPy or CuPy. gamma, beta, running_mean, running_var: of any shape with an element for
    each, and any float dtype.
    running_mean and running_var are written: decay times what they are, plus (1 - decay) times the batch's mean and
    unbiased variance; one value for each channel leaves running_var as it is.
    mean, inv_std: both None, or arrays that are written. debug: without effect. d_layout: CUDNN_TENSOR_NHWC where
    is_for_conv2d and x is (N, *X, C).
    Returns (None, y, mean, inv_std), or (None, y) where mean and inv_std are given: inv_std = 1 / sqrt(var + eps), var
    biased, of gamma's shape, float32 where x is of 16 bits, else of its dtype. None stands for cuDNN's reserve_space.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before anything is written.

    >>> import numpy as np
    >>> x, one, zero, running_mean = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), np.zeros(1)
    >>> rest = one, zero, running_mean, one, None, None, 0.0, 0.5, False, CUDNN_BATCHNORM_PER_ACTIVATION, False
    >>> batch_normalization_forward_training_ex(x, *rest)
    (None, array([[-1.],
           [ 1.]]), array([2.]), array([1.]))
    >>> running_mean
    array([1.])
    """
    name = "batch_normalization_forward_training"
    if (mean is None) != (inv_std is None):
        raise value_error(
            name, "inv_std", "None" if inv_std is None else "an array", "None where mean is, and only there"
        )
    view = _view(name, x, is_for_conv2d, cudnn_mode, d_layout)
    given = _parameters(name, view, gamma=gamma, beta=beta)
    running = _parameters(name, view, running_mean=running_mean, running_var=running_var)
    saved = [] if mean is None else _parameters(name, view, mean=mean, inv_std=inv_std)

    y, batch_mean, var = batch_norm(view, *given, eps=eps)
    batch_inv_std, count = (var + eps) ** -0.5, math.prod(view.shape) // view.shape[1]
    if count > 0:
        arguments.write(running_mean, decay * running[0] + (1 - decay) * batch_mean)
    if count > 1:
        arguments.write(running_var, decay * running[1] + (1 - decay) * (count / (count - 1)) * var)
    if saved:
        arguments.write(mean, batch_mean)
        arguments.write(inv_std, batch_inv_std)
        return None, y.reshape(x.shape)
    return None, y.reshape(x.shape), batch_mean.reshape(gamma.shape), batch_inv_std.reshape(gamma.shape)


def batch_normalization_forward_inference(
    x: A,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    is_for_conv2d: bool,
    cudnn_mode: int,
    d_layout: int = CUDNN_TENSOR_NCHW,
) -> A:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var given, such as running statistics.

    x: is_for_conv2d: (N, C, *X), normalised by channels, or, where cudnn_mode is CUDNN_BATCHNORM_PER_ACTIVATION, by
    elements of an image. Otherwise normalised by the elements of its last axis, in every mode. float16, bfloat16,
    float32 or float64, of NumPy or CuPy. gamma, beta, mean, var: of any shape with an element for each, and any float
    dtype. d_layout: CUDNN_TENSOR_NHWC where is_for_conv2d and x is (N, *X, C). Returns y, as x.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x, one, mean, var = np.array([[1.0], [7.0]]), np.ones(1), np.array([5.0]), np.array([4.0])
    >>> batch_normalization_forward_inference(x, one, one, mean, var, 0.0, False, CUDNN_BATCHNORM_PER_ACTIVATION)
    array([[-1.],
           [ 2.]])
    """
    name = "batch_normalization_forward_inference"
    view = _view(name, x, is_for_conv2d, cudnn_mode, d_layout)
    given = _parameters(name, view, gamma=gamma, beta=beta, mean=mean, var=var)
    y: A = batch_norm_inference(view, *given, eps=eps).reshape(x.shape)
    return y


@quietly
def batch_normalization_backward(
    x: A,
    gamma: Array,
    gy: A,
    mean: Array,
    inv_std: Array,
    eps: float,
    is_for_conv2d: bool,
    cudnn_mode: int,
    debug: bool,
    d_layout: int = CUDNN_TENSOR_NCHW,
    *,
    reserve_space: Any = None,
) -> tuple[Any, Any, Any]:
    """The gradients of batch_normalization_forward_training: (gx, ggamma, gbeta).

    x, gamma, is_for_conv2d, cudnn_mode, d_layout: as that function took them. gy: of x's shape and dtype. mean,
    inv_std: as it returned them; eps is in inv_std, and not read. debug, reserve_space: without effect. gx is as x;
    ggamma and gbeta have gamma's shape and are of the dtype of mean, or of x's where gamma is of another than that.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x, one, gy = np.array([[1.0], [3.0], [5.0]]), np.ones(1), np.array([[1.0], [0.0], [0.0]])
    >>> mode, mean, inv_std = CUDNN_BATCHNORM_PER_ACTIVATION, np.array([3.0]), np.array([0.5])
    >>> batch_normalization_backward(x, one, gy, mean, inv_std, 0.0, False, mode, False)[1:]
    (array([-1.]), array([1.]))
    """
    name = "batch_normalization_backward"
    x, gy = checks.arrays(name, x=x, gy=gy)
    checks.has_shape(name, "gy", gy, x.shape, "x.shape")
    view, gy = (_view(name, each, is_for_conv2d, cudnn_mode, d_layout) for each in (x, gy))
    scale, center, inverse = _parameters(name, view, gamma=gamma, mean=mean, inv_std=inv_std)
    gx, *gradients = batch_norm_grads(gy, view, scale, center, inverse**-2, eps=0.0)
    dtype = scale.dtype if gamma.dtype == scale.dtype else x.dtype
    ggamma, gbeta = (each.reshape(gamma.shape).astype(dtype, copy=False) for each in gradients)
    return gx.reshape(x.shape), ggamma, gbeta


def _view(function: str, x: Any, is_for_conv2d: bool, cudnn_mode: int, d_layout: int) -> Any:
    """x with the axis along which elements have a mean and a variance of their own as its second."""
    (last,) = arguments.channels_last(function, d_layout=d_layout)
    if cudnn_mode not in _MODES:
        raise value_error(function, "cudnn_mode", cudnn_mode, "one of CUDNN_BATCHNORM_*")
    (x,) = checks.arrays(function, x=x)
    least = 2 if is_for_conv2d else 1
    if x.ndim < least or 0 in x.shape[1:]:
        axes = "(N, ..., C)" if last else "(N, C, ...)"
        raise value_error(function, "x.shape", x.shape, f"{axes}, each extent after N at least 1")
    if is_for_conv2d and cudnn_mode == CUDNN_BATCHNORM_PER_ACTIVATION:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return x if is_for_conv2d and not last else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _parameters(function: str, x: Any, **named: Any) -> list[Any]:
    """Arrays of one element for each of x's second axis, as batch_norm takes them."""
    given = dict(zip(("x", *named), checks.one_library(function, x=x, **named), strict=True))
    del given["x"]
    for name, array in given.items():
        if not checks.is_float(array.dtype):
            raise checks.type_error(function, f"{name}.dtype", array.dtype, "a float dtype")
        if array.size != x.shape[1]:
            raise value_error(function, f"{name}.shape", array.shape, f"{x.shape[1]} elements")
    dtype = accumulation_dtype(x.dtype)
    return [array.reshape(x.shape[1]).astype(dtype, copy=False) for array in given.values()]
