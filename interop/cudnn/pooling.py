"""Pooling and its gradient, as cupy.cudnn had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...kernels import checks
from ...kernels.axis import Axis
from ...kernels.checks import value_error
from ...kernels.pool.checked import path_of
from ...kernels.pool.geometry import AvgPoolGeometry, PoolGeometry
from ...kernels.types import A
from . import arguments
from .library import (
    CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
    CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING,
    CUDNN_POOLING_MAX,
    CUDNN_POOLING_MAX_DETERMINISTIC,
)

_MAX = (CUDNN_POOLING_MAX, CUDNN_POOLING_MAX_DETERMINISTIC)
_AVERAGE = (CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING)


def pooling_forward(x: A, y: A, ksize: Sequence[int], stride: Sequence[int], pad: Sequence[int], mode: int) -> A:
    """Write the maximum or the average of every window of x into y, and return y.

    x: (N, C, *X) with one to three axes X. y: (N, C, *P) with P = floor((X + 2*pad - ksize) / stride) + 1, overwritten;
    for a maximum also with ceil in the place of floor, the last windows reaching past the padding. Arrays are both
    NumPy's or both CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    ksize, stride, pad: an int for each axis; pad is less than ksize. mode: CUDNN_POOLING_MAX,
    CUDNN_POOLING_MAX_DETERMINISTIC, CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING or
    CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING.
    NaN is greater than every number; a window wholly in padding gives -inf.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before y is written.

    >>> import numpy as np
    >>> y = np.empty((1, 1, 2, 2))
    >>> pooling_forward(np.arange(16.0).reshape(1, 1, 4, 4), y, (2, 2), (2, 2), (0, 0), CUDNN_POOLING_MAX)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    name = "pooling_forward"
    x, plain = checks.arrays(name, x=x, y=y)
    geometry = _geometry(name, x, plain, ksize, stride, pad, mode)
    if isinstance(geometry, AvgPoolGeometry):
        arguments.write(plain, path_of(x).avg_pool(x, geometry))
    else:
        arguments.write(plain, path_of(x).max_pool(x, geometry)[0])
    return y


def pooling_backward(
    x: A, y: A, gy: A, ksize: Sequence[int], stride: Sequence[int], pad: Sequence[int], mode: int
) -> A:
    """The gradient of pooling_forward with respect to x.

    A maximum's gradient goes to where the maximum stands in x, which is looked for again: to the first of equal
    elements, or the last NaN.
    x: (N, C, *X) with one to three axes X. y: what pooling_forward made of it, of which only the shape is read. gy: of
    y's shape. Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64.
    ksize, stride, pad, mode: as pooling_forward's. Returns gx, of x's shape.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x, y = np.array([[[[1.0, 3.0], [3.0, 2.0]]]]), np.array([[[[3.0]]]])
    >>> pooling_backward(x, y, np.ones((1, 1, 1, 1)), (2, 2), (2, 2), (0, 0), CUDNN_POOLING_MAX)[0, 0]
    array([[0., 1.],
           [0., 0.]])
    """
    name = "pooling_backward"
    x, y, gy = checks.arrays(name, x=x, y=y, gy=gy)
    geometry = _geometry(name, x, y, ksize, stride, pad, mode)
    checks.has_shape(name, "gy", gy, geometry.y_shape, "y.shape")
    path = path_of(x)
    if isinstance(geometry, AvgPoolGeometry):
        return path.avg_pool_grad(gy, geometry)
    return path.max_pool_grad(gy, path.max_pool(x, geometry)[1], geometry)


def _geometry(function: str, x: Any, y: Any, ksize: Any, stride: Any, pad: Any, mode: int) -> PoolGeometry:
    if mode not in _MAX + _AVERAGE:
        raise value_error(function, "mode", mode, "one of CUDNN_POOLING_*")
    rank = arguments.rank(function, "x", x)
    options = {"stride": stride, "padding": arguments.padding(function, pad, rank), "rank": rank}
    if mode in _AVERAGE:
        include = mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING
        found: PoolGeometry = AvgPoolGeometry.of_average(function, x.shape, ksize, count_include_pad=include, **options)
    else:
        found = PoolGeometry.of(function, x.shape, ksize, **options)
        if y.ndim == x.ndim:
            found = replace(found, axes=tuple(map(_covering, found.axes, y.shape[2:])))
    checks.has_shape(function, "y", y, found.y_shape, "(N, C, ...)")
    return found


def _covering(axis: Axis, windows: int) -> Axis:
    """The axis with one window more where y has room for it and some element is under no other."""
    more = axis.windows + 1
    return replace(axis, windows=more) if windows == more and axis.unread > 0 else axis
