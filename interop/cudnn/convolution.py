"""Convolution and its gradients, as cupy.cudnn had them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels import checks
from ...kernels.checks import value_error
from ...kernels.conv.checked import path_of
from ...kernels.conv.geometry import ConvGeometry
from ...kernels.layout import NCHW, NHWC, in_layout, to_channels_first, to_channels_last
from ...kernels.types import A
from . import arguments
from .library import CUDNN_TENSOR_NCHW


def convolution_forward(
    x: A,
    W: A,
    b: A | None,
    y: A,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] | None,
    groups: int,
    *,
    auto_tune: bool,
    tensor_core: str,
    d_layout: int = CUDNN_TENSOR_NCHW,
    w_layout: int = CUDNN_TENSOR_NCHW,
) -> None:
    """Write into y the convolution (cross-correlation) of x with W, plus b.

    x: (N, C, *X) with one to three axes X. W: (K, C/groups, *R). b: any shape of K elements, or None. y: (N, K, *P)
    with P = floor((X + 2*pad - dilation*(R-1) - 1) / stride) + 1, overwritten. Arrays are all NumPy's or all CuPy's, of
    one dtype: float16, bfloat16, float32 or float64.
    pad, stride, dilation (None: 1): an int for each axis. groups: divides C and K. auto_tune: without effect.
    tensor_core: 'never' is the precision "ieee"; 'auto' and 'always' are the one in force. d_layout: CUDNN_TENSOR_NHWC
    where x is (N, *X, C) and y (N, *P, K). w_layout: CUDNN_TENSOR_NHWC where W is (K, *R, C/groups).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before y is written.

    >>> import numpy as np
    >>> x, W, y = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.empty((1, 1, 2, 2))
    >>> convolution_forward(x, W, None, y, (0, 0), (1, 1), (1, 1), 1, auto_tune=True, tensor_core="auto")
    >>> y[0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    name = "convolution_forward"
    layouts = arguments.channels_last(name, d_layout=d_layout, w_layout=w_layout)
    x, W, y, b = checks.arrays(name, x=x, W=W, y=y, b=b)
    W = _weights(W, *layouts)
    geometry = _geometry(name, "x", x, W, layouts[0], pad, stride, dilation, groups)
    checks.has_shape(name, "y", y, geometry.y_shape, _axes(layouts[0]))
    b = _bias(name, b, geometry.K)
    with arguments.precision(name, tensor_core):
        arguments.write(y, path_of(x).conv(x, W, b, geometry))


def convolution_backward_data(
    W: A,
    x: A,
    b: A | None,
    y: A,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] | None,
    groups: int,
    *,
    deterministic: bool,
    auto_tune: bool,
    tensor_core: str,
    d_layout: int = CUDNN_TENSOR_NCHW,
    w_layout: int = CUDNN_TENSOR_NCHW,
) -> None:
    """Write into y the gradient of convolution_forward with respect to its input, plus b: a transposed convolution.

    W: (K, C/groups, *R), with one to three axes R. x: (N, K, *P), the gradient of a convolution's output. b: any shape
    of C elements, or None. y: (N, C, *X), overwritten, whose extents X a convolution makes P of:
    P = floor((X + 2*pad - dilation*(R-1) - 1) / stride) + 1. Arrays are all NumPy's or all CuPy's, of one dtype:
    float16, bfloat16, float32 or float64.
    pad, stride, dilation (None: 1): an int for each axis. groups: divides C and K. deterministic: every result is.
    auto_tune: without effect. tensor_core: 'never' is the precision "ieee"; 'auto' and 'always' are the one in force.
    d_layout: CUDNN_TENSOR_NHWC where x is (N, *P, K) and y (N, *X, C). w_layout: CUDNN_TENSOR_NHWC where W is
    (K, *R, C/groups).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before y is written.

    >>> import numpy as np
    >>> W, x, y = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.empty((1, 1, 3, 3))
    >>> options = {"deterministic": True, "auto_tune": False, "tensor_core": "auto"}
    >>> convolution_backward_data(W, x, None, y, (0, 0), (1, 1), (1, 1), 1, **options)
    >>> y[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    name = "convolution_backward_data"
    layouts = arguments.channels_last(name, d_layout=d_layout, w_layout=w_layout)
    W, x, y, b = checks.arrays(name, W=W, x=x, y=y, b=b)
    W = _weights(W, *layouts)
    geometry = _geometry(name, "y", y, W, layouts[0], pad, stride, dilation, groups)
    checks.has_shape(name, "x", x, geometry.y_shape, f"{_axes(layouts[0])} of a convolution of y")
    b = _bias(name, b, geometry.C)
    with arguments.precision(name, tensor_core):
        arguments.write(y, path_of(x).conv_transpose(x, W, b, geometry))


def convolution_backward_filter(
    x: A,
    gy: A,
    gW: A,
    pad: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] | None,
    groups: int,
    *,
    deterministic: bool,
    auto_tune: bool,
    tensor_core: str,
    d_layout: int = CUDNN_TENSOR_NCHW,
    w_layout: int = CUDNN_TENSOR_NCHW,
) -> None:
    """Write into gW the gradient of convolution_forward with respect to W.

    x: (N, C, *X) with one to three axes X. gy: (N, K, *P), with P = floor((X + 2*pad - dilation*(R-1) - 1) / stride) +
    1. gW: (K, C/groups, *R), overwritten. Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16,
    float32 or float64.
    pad, stride, dilation (None: 1): an int for each axis. groups: divides C and K. deterministic: every result is.
    auto_tune: without effect. tensor_core: 'never' is the precision "ieee"; 'auto' and 'always' are the one in force.
    d_layout: CUDNN_TENSOR_NHWC where x is (N, *X, C) and gy (N, *P, K). w_layout: CUDNN_TENSOR_NHWC where gW is
    (K, *R, C/groups).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before gW is written.

    >>> import numpy as np
    >>> x, gy, gW = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), np.empty((1, 1, 2, 2))
    >>> options = {"deterministic": True, "auto_tune": False, "tensor_core": "auto"}
    >>> convolution_backward_filter(x, gy, gW, (0, 0), (1, 1), (1, 1), 1, **options)
    >>> gW[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    name = "convolution_backward_filter"
    layouts = arguments.channels_last(name, d_layout=d_layout, w_layout=w_layout)
    x, gy, gW = checks.arrays(name, x=x, gy=gy, gW=gW)
    gW = _weights(gW, *layouts)
    geometry = _geometry(name, "x", x, gW, layouts[0], pad, stride, dilation, groups, weights="gW")
    checks.has_shape(name, "gy", gy, geometry.y_shape, _axes(layouts[0]))
    with arguments.precision(name, tensor_core):
        arguments.write(gW, path_of(x).conv_weight_grad(gy, x, geometry))


def _geometry(
    function: str,
    image: str,
    x: Any,
    W: Any,
    channels_last: bool,
    pad: Any,
    stride: Any,
    dilation: Any,
    groups: Any,
    weights: str = "W",
) -> ConvGeometry:
    """Of the convolution of x, which the function's caller knows as `image`."""
    rank = arguments.rank(function, image, x)
    return ConvGeometry.of(
        function,
        x.shape,
        W.shape,
        stride=stride,
        padding=arguments.padding(function, pad, rank),
        dilation=1 if dilation is None else dilation,
        groups=groups,
        layout=NHWC if channels_last else NCHW,
        names=(f"{image}.shape", f"{weights}.shape"),
        rank=rank,
    )


def _axes(channels_last: bool) -> str:
    """What messages call the shape of an output."""
    return f"({', '.join(in_layout(('N', 'K', '...'), channels_last))})"


def _weights(W: Any, images_last: bool, weights_last: bool) -> Any:
    """The view of the weights in the layout of the images."""
    if images_last == weights_last or W.ndim < 3:
        return W
    return to_channels_first(W) if weights_last else to_channels_last(W)


def _bias(function: str, b: Any, channels: int) -> Any:
    if b is None:
        return None
    if b.size != channels:
        raise value_error(function, "b.shape", b.shape, f"{channels} elements")
    return b.reshape(channels)
