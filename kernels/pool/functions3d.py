"""3-D max and average pooling and their gradients, with PyTorch's output sizes, ties, NaN and divisor rules."""

from __future__ import annotations

from typing import Any

from ..types import A, Array, Padding, PerAxis, Shape
from . import checked


def max_pool3d(
    x: A,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> tuple[A, Any]:
    """The largest element of every window, and the tap (t*R + r)*S + s at which it stood.

    x: (N, C, D, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size), dilation: an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front,
    back), (top, bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode:
    whether a last window may reach past the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, D, H, W, C), y and taps (N, Z, P, Q, C).
    Returns (y, taps), both (N, C, Z, P, Q). Ties: the first tap wins. NaN wins over everything, and the last NaN of the
    window is the tap (PyTorch's rule, aten/src/ATen/native/cuda/DilatedMaxPool2d.cu). Padding never wins; a window
    wholly in padding gives -inf. taps is uint8 where T*R*S < 256, else uint16 where T*R*S < 65536, else int32; the
    type's largest value marks a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool3d(np.arange(32.0).reshape(1, 1, 2, 4, 4), 2)
    >>> y[0, 0, 0], taps.dtype
    (array([[21., 23.],
           [29., 31.]]), dtype('uint8'))
    """
    return checked.max_pool(
        3, x, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout
    )


def max_pool3d_grad(
    dy: A,
    taps: Array,
    x_shape: Shape,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> A:
    """The gradient of max_pool3d: dx[n,c,d,h,w] = sum of dy[n,c,z,p,q] over the windows whose tap is (d, h, w).

    dy: (N, C, Z, P, Q). taps: (N, C, Z, P, Q), as max_pool3d returned them. x_shape: (N, C, D, H, W) of the forward
    input.
    kernel_size, stride (None: kernel_size), dilation: an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front,
    back), (top, bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode:
    whether a last window may reach past the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: dy and taps (N, Z, P, Q, C), x_shape (N, D, H, W, C).
    Returns dx (N, C, D, H, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool3d(np.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    >>> max_pool3d_grad(np.ones((1, 1, 1, 1, 1)), taps, (1, 1, 2, 2, 2), 2)[0, 0].ravel()
    array([0., 0., 0., 0., 0., 0., 0., 1.])
    """
    return checked.max_pool_grad(
        3,
        dy,
        taps,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )


def max_pool3d_indices(
    taps: Array,
    x_shape: Shape,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> Any:
    """The positions (d*H + h)*W + w in each volume of x that the taps stand for, as PyTorch's return_indices gives
    them.

    taps: (N, C, Z, P, Q), as max_pool3d returned them. x_shape: (N, C, D, H, W) of the forward input.
    kernel_size, stride (None: kernel_size), dilation: an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front,
    back), (top, bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode:
    whether a last window may reach past the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: taps (N, Z, P, Q, C), x_shape (N, D, H, W, C).
    Returns int64 (N, C, Z, P, Q); -1 for a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool3d(np.arange(32.0).reshape(1, 1, 2, 4, 4), 2)
    >>> max_pool3d_indices(taps, (1, 1, 2, 4, 4), 2)[0, 0, 0]
    array([[21, 23],
           [29, 31]])
    """
    return checked.max_pool_indices(
        3,
        taps,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )


def avg_pool3d(
    x: A,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
) -> A:
    """The sum of every window over a divisor: the window's extent clipped to the padded input, or, without
    count_include_pad, the number of its elements inside the input, or divisor_override (an int other than 0).

    x: (N, C, D, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size): an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front, back),
    (top, bottom), (left, right)), 'valid' or 'same', at most kernel_size-1 on each side. ceil_mode: whether a last
    window may reach past the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, D, H, W, C) and y (N, Z, P, Q, C).
    Returns y (N, C, Z, P, Q). The rules are PyTorch's (aten/src/ATen/native/cuda/AveragePool2d.cu).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool3d(np.arange(32.0).reshape(1, 1, 2, 4, 4), 2)[0, 0, 0]
    array([[10.5, 12.5],
           [18.5, 20.5]])
    """
    return checked.avg_pool(
        3,
        x,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        layout=layout,
    )


def avg_pool3d_grad(
    dy: A,
    x_shape: Shape,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    layout: str = "NCHW",
) -> A:
    """The gradient of avg_pool3d: dx[n,c,d,h,w] = sum of dy[n,c,z,p,q] / divisor[z,p,q] over the windows that cover (d,
    h, w).

    dy: (N, C, Z, P, Q). x_shape: (N, C, D, H, W) of the forward input. count_include_pad, divisor_override: as
    avg_pool3d's.
    kernel_size, stride (None: kernel_size): an int or a (d, h, w) tuple. padding: an int, (d, h, w), ((front, back),
    (top, bottom), (left, right)), 'valid' or 'same', at most kernel_size-1 on each side. ceil_mode: whether a last
    window may reach past the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, C) and x_shape (N, D, H, W, C).
    Returns dx (N, C, D, H, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool3d_grad(np.ones((1, 1, 1, 1, 1)), (1, 1, 1, 2, 2), (1, 2, 2))[0, 0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    return checked.avg_pool_grad(
        3,
        dy,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        layout=layout,
    )


def adaptive_avg_pool3d(x: A, output_size: PerAxis, *, layout: str = "NCHW") -> A:
    """The average of each of output_size windows, which share x's planes, rows and columns as evenly as they can.

    Window z covers planes floor(z*D/Z) to ceil((z+1)*D/Z), and rows and columns likewise; windows overlap where the
    extent is no multiple (PyTorch's rule, aten/src/ATen/native/AdaptivePooling.h).
    x: (N, C, D, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64. output_size: an int or a (Z, P, Q)
    tuple, at least 1. Returns y (N, C, Z, P, Q).
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, D, H, W, C) and y (N, Z, P, Q, C).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool3d(np.arange(18.0).reshape(1, 1, 2, 3, 3), (1, 2, 2))[0, 0, 0]
    array([[ 6.5,  7.5],
           [ 9.5, 10.5]])
    """
    return checked.adaptive_avg_pool(3, x, output_size, layout=layout)


def adaptive_avg_pool3d_grad(dy: A, x_shape: Shape, *, layout: str = "NCHW") -> A:
    """The gradient of adaptive_avg_pool3d: dx[n,c,d,h,w] = sum of dy[n,c,z,p,q] / the size of its window, over the
    windows that cover (d, h, w).

    dy: (N, C, Z, P, Q), of NumPy or CuPy. x_shape: (N, C, D, H, W) of the forward input. Returns dx (N, C, D, H, W).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, C) and x_shape (N, D, H, W, C).
    Raises ValueError for shapes and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool3d_grad(np.ones((1, 1, 1, 1, 1)), (1, 1, 1, 2, 2))[0, 0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    return checked.adaptive_avg_pool_grad(3, dy, x_shape, layout=layout)
