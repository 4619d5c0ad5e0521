"""Batch, group and layer normalisation and their gradients, on images of any number of axes."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..dtypes import accumulation_dtype
from ..layout import NCHW
from ..types import A, Array, Shape
from .geometry import BatchNormGeometry, RowNormGeometry
from .path import NormPath

_call = Paths[NormPath]("norm").call


def batch_norm(
    x: A,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    residual: A | None = None,
    layout: str = NCHW,
) -> tuple[A, Any, Any]:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var each channel's own over the batch.

    x: (N, C, *X), or with layout="NHWC" (N, *X, C), of NumPy or CuPy, float16, bfloat16, float32 or float64. gamma,
    beta: (C,), of float32 where x is of 16 bits and else of its dtype, or both None for 1 and 0. residual: an array
    as x that is added, and activation, None or 'relu', what is then applied: the results have the bits of separate
    calls.
    Returns (y, mean, var): y as x, mean and var (C,) of gamma's dtype. var is the mean of the squared deviations from
    the mean (biased), which a large mean does not spoil. One value for each channel gives y = beta; of N = 0 images
    mean and var are 0. The formula is that of Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, mean, var = batch_norm(np.array([[1.0, 5.0], [3.0, 5.0]]), np.ones(2), np.ones(2), eps=0.001)
    >>> y.round(2), mean, var
    (array([[0., 1.],
           [2., 1.]]), array([2., 5.]), array([1., 0.]))
    """
    y, mean, var = _call("batch_norm", _batch_norm, (x, gamma, beta, residual), eps, activation, layout)
    return y, mean, var


def _batch_norm(
    x: Any, gamma: Any, beta: Any, residual: Any, eps: float, activation: str | None, layout: str
) -> tuple[Any, ...]:
    operation = "batch_norm"
    x, residual = _arrays(operation, x=x, residual=residual)
    x, gamma, beta = _parameters(operation, x, gamma=gamma, beta=beta)
    options: dict[str, Any] = {"activation": activation, "residual": residual is not None, "layout": layout}
    geometry = BatchNormGeometry.of(operation, x.shape, eps=eps, **options)
    _check_shapes(operation, geometry, {"residual": residual}, {"gamma": gamma, "beta": beta})
    _check_both(operation, gamma, beta)
    return x, gamma, beta, residual, geometry


def batch_norm_inference(
    x: A,
    gamma: Array | None,
    beta: Array | None,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    residual: A | None = None,
    layout: str = NCHW,
) -> A:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var given, such as running statistics.

    x: (N, C, *X), or with layout="NHWC" (N, *X, C), of NumPy or CuPy, float16, bfloat16, float32 or float64. gamma,
    beta, mean, var: (C,), of float32 where x is of 16 bits and else of its dtype; gamma and beta may both be None
    for 1 and 0. residual: an array as x that is added, and activation, None or 'relu', what is then applied: y has
    the bits of separate calls, and for the mean and var that batch_norm returned those of its y. Returns y, as x.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> batch_norm_inference(np.array([[1.0], [7.0]]), None, None, np.array([5.0]), np.array([4.0]), eps=0)
    array([[-2.],
           [ 1.]])
    """
    y: A = _call("batch_norm_inference", _inference, (x, gamma, beta, mean, var, residual), eps, activation, layout)
    return y


def _inference(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, residual: Any, eps: float, activation: str | None, layout: str
) -> tuple[Any, ...]:
    operation = "batch_norm_inference"
    x, residual = _arrays(operation, x=x, residual=residual)
    x, gamma, beta, mean, var = _parameters(operation, x, gamma=gamma, beta=beta, mean=mean, var=var)
    options: dict[str, Any] = {"activation": activation, "residual": residual is not None, "layout": layout}
    geometry = BatchNormGeometry.of(operation, x.shape, eps=eps, **options)
    parameters = {"gamma": gamma, "beta": beta, "mean": mean, "var": var}
    _check_shapes(operation, geometry, {"residual": residual}, parameters)
    _check_both(operation, gamma, beta)
    return x, gamma, beta, mean, var, residual, geometry


def batch_norm_grads(
    dy: A,
    x: A,
    gamma: Array | None,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    residual: bool = False,
    beta: Array | None = None,
    y: A | None = None,
    layout: str = NCHW,
) -> tuple[Any, ...]:
    """The gradients of batch_norm: dbeta = sum of dz, dgamma = sum of dz z, both over all but the channels, and
    dx = gamma (dz - dbeta/M - z dgamma/M) / sqrt(var + eps), with z = (x - mean) / sqrt(var + eps) and M elements in a
    channel; dz is dy, with activation='relu' only where y is not 0.

    dy, x: (N, C, *X), or with layout="NHWC" (N, *X, C), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    gamma, mean, var: as batch_norm took and returned them, gamma perhaps None. activation: as in batch_norm; where
    it is 'relu', beta and y are batch_norm's too. residual: whether one was added. Returns (dx, dgamma, dbeta), or
    (dx, dgamma, dbeta, dresidual).
    The formula is that of Ioffe and Szegedy, "Batch Normalization" (2015), section 3.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0], [5.0]])
    >>> y, mean, var = batch_norm(x)
    >>> dx, dgamma, dbeta = batch_norm_grads(np.array([[1.0], [0.0], [0.0]]), x, None, mean, var)
    >>> dx.round(2).T, dgamma.round(2), dbeta
    (array([[ 0.1, -0.2,  0.1]]), array([-1.22]), array([1.]))
    """
    operation, options = "batch_norm_grads", (eps, activation, bool(residual), layout)
    found: tuple[Any, ...] = _call(operation, _gradient, (dy, x, gamma, mean, var, beta, y), operation, *options)
    return found


def batch_norm_inference_grads(
    dy: A,
    x: A,
    gamma: Array | None,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
    residual: bool = False,
    beta: Array | None = None,
    y: A | None = None,
    layout: str = NCHW,
) -> tuple[Any, ...]:
    """The gradients of batch_norm_inference: dx = gamma dz / sqrt(var + eps), dbeta = sum of dz and dgamma = sum of
    dz (x - mean) / sqrt(var + eps), both over all but the channels; dz is dy, with activation='relu' only where y is
    not 0.

    dy, x: (N, C, *X), or with layout="NHWC" (N, *X, C), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    gamma, mean, var: as batch_norm_inference took them, gamma perhaps None. activation: as there; where it is
    'relu', beta and y are that call's too. residual: whether one was added. Returns (dx, dgamma, dbeta), or (dx,
    dgamma, dbeta, dresidual).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x, mean, var = np.array([[1.0], [7.0]]), np.array([5.0]), np.array([4.0])
    >>> dx, dgamma, dbeta = batch_norm_inference_grads(np.ones((2, 1)), x, None, mean, var, eps=0)
    >>> dx.T, dgamma, dbeta
    (array([[0.5, 0.5]]), array([-1.]), array([2.]))
    """
    operation, options = "batch_norm_inference_grads", (eps, activation, bool(residual), layout)
    found: tuple[Any, ...] = _call(operation, _gradient, (dy, x, gamma, mean, var, beta, y), operation, *options)
    return found


def group_norm(
    x: A, num_groups: int, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5
) -> tuple[A, Any, Any]:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var each group's own of channels of one image.

    x: (N, C, *X), of NumPy or CuPy, float16, bfloat16, float32 or float64. num_groups: a divisor of C; a group is C /
    num_groups neighbouring channels. gamma, beta: (C,), of float32 where x is of 16 bits and else of its dtype, or both
    None for 1 and 0. Returns (y, mean, var): y as x, mean and the biased var (N, num_groups) of gamma's dtype.
    The formula is that of Wu and He, "Group Normalization" (2018), section 3.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, mean, var = group_norm(np.array([[1.0, 3.0, 4.0, 8.0]]), 2)
    >>> y.round(2), mean, var
    (array([[-1.,  1., -1.,  1.]]), array([[2., 6.]]), array([[1., 4.]]))
    """
    y, mean, var = _call("group_norm", _row_norm, (x, gamma, beta), "group_norm", num_groups, eps)
    return y, mean, var


def group_norm_grads(
    dy: A, x: A, num_groups: int, gamma: Array | None, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[A, Any, Any]:
    """The gradients of group_norm: dbeta = sum of dy, dgamma = sum of dy z, both over all but the channels, and
    dx = (g - mean of g - z mean of g z) / sqrt(var + eps), with z = (x - mean) / sqrt(var + eps), g = gamma dy, and
    means over the elements of a group.

    dy, x: (N, C, *X), of NumPy or CuPy, float16, bfloat16, float32 or float64. num_groups: as in group_norm. gamma,
    mean, var: as group_norm took and returned them, gamma perhaps None. Returns (dx, dgamma, dbeta).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x = np.array([[1.0, 3.0, 5.0]])
    >>> y, mean, var = group_norm(x, 1)
    >>> dx, dgamma, dbeta = group_norm_grads(np.array([[1.0, 0.0, 0.0]]), x, 1, None, mean, var)
    >>> dx.round(2), dgamma.round(2), dbeta
    (array([[ 0.1, -0.2,  0.1]]), array([-1.22,  0.  ,  0.  ]), array([1., 0., 0.]))
    """
    operation = "group_norm_grads"
    dx, dgamma, dbeta = _call(operation, _row_norm_grads, (dy, x, gamma, mean, var), operation, num_groups, eps)
    return dx, dgamma, dbeta


def layer_norm(
    x: A, normalized_shape: int | Shape, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5
) -> tuple[A, Any, Any]:
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and var over the last axes.

    x: (*N, *normalized_shape), of NumPy or CuPy, float16, bfloat16, float32 or float64. normalized_shape: the extents
    of the axes that are normalised, or an int for the last. gamma, beta: of that shape, of float32 where x is of 16
    bits and else of its dtype, or both None for 1 and 0. Returns (y, mean, var): y as x, mean and the biased var (*N)
    of gamma's dtype. The formula is that of Ba, Kiros and Hinton, "Layer Normalization" (2016).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, mean, var = layer_norm(np.array([[1.0, 3.0], [4.0, 8.0]]), 2)
    >>> y.round(2), mean, var
    (array([[-1.,  1.],
           [-1.,  1.]]), array([2., 6.]), array([1., 4.]))
    """
    y, mean, var = _call("layer_norm", _row_norm, (x, gamma, beta), "layer_norm", normalized_shape, eps)
    return y, mean, var


def layer_norm_grads(
    dy: A, x: A, normalized_shape: int | Shape, gamma: Array | None, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[A, Any, Any]:
    """The gradients of layer_norm: dbeta = sum of dy, dgamma = sum of dy z, both over the axes before
    normalized_shape, and dx = (g - mean of g - z mean of g z) / sqrt(var + eps), with z = (x - mean) / sqrt(var + eps),
    g = gamma dy, and means over the last axes.

    dy, x: (*N, *normalized_shape), of NumPy or CuPy, float16, bfloat16, float32 or float64. gamma, mean, var: as
    layer_norm took and returned them, gamma perhaps None. Returns (dx, dgamma, dbeta).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x = np.array([[1.0, 3.0, 5.0]])
    >>> y, mean, var = layer_norm(x, 3)
    >>> dx, dgamma, dbeta = layer_norm_grads(np.array([[1.0, 0.0, 0.0]]), x, 3, None, mean, var)
    >>> dx.round(2), dgamma.round(2), dbeta
    (array([[ 0.1, -0.2,  0.1]]), array([-1.22,  0.  ,  0.  ]), array([1., 0., 0.]))
    """
    operation = "layer_norm_grads"
    dx, dgamma, dbeta = _call(operation, _row_norm_grads, (dy, x, gamma, mean, var), operation, normalized_shape, eps)
    return dx, dgamma, dbeta


def _row_norm(x: Any, gamma: Any, beta: Any, operation: str, grouping: Any, eps: float) -> tuple[Any, ...]:
    """grouping: what says which elements share a mean and a variance, num_groups or normalized_shape."""
    (x,) = checks.arrays(operation, x=x)
    x, gamma, beta = _parameters(operation, x, gamma=gamma, beta=beta)
    geometry = _row_geometry(operation, x.shape, grouping, eps)
    _check_shapes(operation, geometry, {}, {"gamma": gamma, "beta": beta})
    _check_both(operation, gamma, beta)
    return x, gamma, beta, geometry


def _row_norm_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, operation: str, grouping: Any, eps: float
) -> tuple[Any, ...]:
    dy, x = checks.arrays(operation, dy=dy, x=x)
    x, gamma, mean, var = _parameters(operation, x, gamma=gamma, mean=mean, var=var)
    geometry = _row_geometry(operation, x.shape, grouping, eps)
    _check_shapes(operation, geometry, {"dy": dy}, {"gamma": gamma, "mean": mean, "var": var})
    return dy, x, gamma, mean, var, geometry


def _row_geometry(operation: str, shape: Shape, grouping: Any, eps: float) -> RowNormGeometry:
    if operation.startswith("group_norm"):
        return RowNormGeometry.of_groups(operation, shape, num_groups=grouping, eps=eps)
    return RowNormGeometry.of_layer(operation, shape, normalized_shape=grouping, eps=eps)


def _gradient(
    dy: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    var: Any,
    beta: Any,
    y: Any,
    operation: str,
    eps: float,
    activation: str | None,
    residual: bool,
    layout: str,
) -> tuple[Any, ...]:
    dy, x, y = _arrays(operation, dy=dy, x=x, y=y)
    x, gamma, mean, var, beta = _parameters(operation, x, gamma=gamma, mean=mean, var=var, beta=beta)
    options: dict[str, Any] = {"activation": activation, "residual": residual, "layout": layout}
    geometry = BatchNormGeometry.of(operation, x.shape, eps=eps, **options)
    _check_shapes(operation, geometry, {"dy": dy, "y": y}, {"gamma": gamma, "mean": mean, "var": var, "beta": beta})
    if activation is None:
        for name, given in (("beta", beta), ("y", y)):
            if given is not None:
                raise checks.value_error(operation, name, "given", "none without an activation")
    elif y is None:
        raise checks.value_error(operation, "y", None, "the output of the call whose gradients these are")
    else:
        _check_both(operation, gamma, beta)
    return dy, x, gamma, mean, var, beta, y, geometry


def _arrays(operation: str, **named: Any) -> list[Any]:
    """As checks.arrays; the last may be None."""
    *_, last = named
    if named[last] is not None:
        return checks.arrays(operation, **named)
    del named[last]
    return [*checks.arrays(operation, **named), None]


def _parameters(operation: str, x: Any, **named: Any) -> list[Any]:
    """x and parameters and statistics beside it, none of a subclass: of its library and device, of the dtype that sums
    over x are kept in. gamma and beta may be None, which stays None."""
    absent = [name for name in ("gamma", "beta") if name in named and named[name] is None]
    given = {name: array for name, array in named.items() if name not in absent}
    x, *found = checks.one_library(operation, x=x, **given)
    expected = accumulation_dtype(x.dtype)
    for name, array in zip(given, found, strict=True):
        if array.dtype != expected:
            raise checks.type_error(operation, f"{name}.dtype", array.dtype, f"{expected} beside x of {x.dtype}")
    named.update(zip(given, found, strict=True))
    return [x, *named.values()]


def _check_shapes(
    operation: str,
    geometry: BatchNormGeometry | RowNormGeometry,
    arrays: dict[str, Any],
    parameters: dict[str, Any],
) -> None:
    for name, array in arrays.items():
        if array is not None:
            checks.has_shape(operation, name, array, geometry.x_shape, "x's shape")
    for name, array in parameters.items():
        statistic = name in ("mean", "var")
        shape = geometry.statistics_shape if statistic else geometry.parameter_shape
        if array is not None:
            checks.has_shape(operation, name, array, shape, "one for each " + ("mean" if statistic else "channel"))


def _check_both(operation: str, gamma: Any, beta: Any) -> None:
    if (gamma is None) != (beta is None):
        missing, there = ("gamma", "beta") if gamma is None else ("beta", "gamma")
        raise checks.value_error(operation, missing, None, f"an array, as {there} is one")
