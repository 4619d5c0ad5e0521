"""1-D max and average pooling and their gradients, with PyTorch's output sizes, ties, NaN and divisor rules."""

from __future__ import annotations

from typing import Any

from ..types import A, Array, Padding, PerAxis, Shape
from . import checked


def max_pool1d(
    x: A,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    layout: str = "NCHW",
) -> tuple[A, Any]:
    """The largest element of every window, and the tap s at which it stood.

    x: (N, C, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size), dilation: an int or a (w,) tuple. padding: an int, (w,), ((left, right),),
    'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last window may reach past
    the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, W, C), y and taps (N, Q, C).
    Returns (y, taps), both (N, C, Q). Ties: the first tap wins. NaN wins over everything, and the last NaN of the
    window is the tap (PyTorch's rule, aten/src/ATen/native/cuda/DilatedMaxPool2d.cu). Padding never wins; a window
    wholly in padding gives -inf. taps is uint8 where S < 256, else uint16 where S < 65536, else int32; the type's
    largest value marks a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool1d(np.array([[[3.0, 5.0, 4.0, 1.0]]]), 2)
    >>> y[0, 0], taps[0, 0], taps.dtype
    (array([5., 4.]), array([1, 0], dtype=uint8), dtype('uint8'))
    """
    return checked.max_pool(
        1, x, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout
    )


def max_pool1d_grad(
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
    """The gradient of max_pool1d: dx[n,c,w] = sum of dy[n,c,q] over the windows whose tap is w.

    dy: (N, C, Q). taps: (N, C, Q), as max_pool1d returned them. x_shape: (N, C, W) of the forward input.
    kernel_size, stride (None: kernel_size), dilation: an int or a (w,) tuple. padding: an int, (w,), ((left, right),),
    'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last window may reach past
    the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: dy and taps (N, Q, C), x_shape (N, W, C).
    Returns dx (N, C, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool1d(np.arange(4.0).reshape(1, 1, 4), 2)
    >>> max_pool1d_grad(np.ones((1, 1, 2)), taps, (1, 1, 4), 2)[0, 0]
    array([0., 1., 0., 1.])
    """
    return checked.max_pool_grad(
        1,
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


def max_pool1d_indices(
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
    """The positions w in each line of x that the taps stand for, as PyTorch's return_indices gives them.

    taps: (N, C, Q), as max_pool1d returned them. x_shape: (N, C, W) of the forward input.
    kernel_size, stride (None: kernel_size), dilation: an int or a (w,) tuple. padding: an int, (w,), ((left, right),),
    'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last window may reach past
    the padding; it must start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: taps (N, Q, C), x_shape (N, W, C).
    Returns int64 (N, C, Q); -1 for a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)
    >>> max_pool1d_indices(taps, (1, 1, 6), 2)[0, 0]
    array([1, 3, 5])
    """
    return checked.max_pool_indices(
        1,
        taps,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        layout=layout,
    )


def avg_pool1d(
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

    x: (N, C, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size): an int or a (w,) tuple. padding: an int, (w,), ((left, right),), 'valid' or
    'same', at most kernel_size-1 on each side. ceil_mode: whether a last window may reach past the padding; it must
    start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, W, C) and y (N, Q, C).
    Returns y (N, C, Q). The rules are PyTorch's (aten/src/ATen/native/cuda/AveragePool2d.cu).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool1d(np.arange(6.0).reshape(1, 1, 6), 2)[0, 0]
    array([0.5, 2.5, 4.5])
    """
    return checked.avg_pool(
        1,
        x,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        layout=layout,
    )


def avg_pool1d_grad(
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
    """The gradient of avg_pool1d: dx[n,c,w] = sum of dy[n,c,q] / divisor[q] over the windows that cover w.

    dy: (N, C, Q). x_shape: (N, C, W) of the forward input. count_include_pad, divisor_override: as avg_pool1d's.
    kernel_size, stride (None: kernel_size): an int or a (w,) tuple. padding: an int, (w,), ((left, right),), 'valid' or
    'same', at most kernel_size-1 on each side. ceil_mode: whether a last window may reach past the padding; it must
    start inside x or the leading padding.
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, C) and x_shape (N, W, C).
    Returns dx (N, C, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool1d_grad(np.ones((1, 1, 2)), (1, 1, 4), 2)[0, 0]
    array([0.5, 0.5, 0.5, 0.5])
    """
    return checked.avg_pool_grad(
        1,
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


def adaptive_avg_pool1d(x: A, output_size: PerAxis, *, layout: str = "NCHW") -> A:
    """The average of each of output_size windows, which share x's elements as evenly as they can.

    Window q covers elements floor(q*W/Q) to ceil((q+1)*W/Q); windows overlap where the extent is no multiple (PyTorch's
    rule, aten/src/ATen/native/AdaptivePooling.h).
    x: (N, C, W), of NumPy or CuPy, float16, bfloat16, float32 or float64. output_size: an int or a (Q,) tuple, at least
    1. Returns y (N, C, Q).
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, W, C) and y (N, Q, C).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool1d(np.arange(3.0).reshape(1, 1, 3), 2)[0, 0]
    array([0.5, 1.5])
    """
    return checked.adaptive_avg_pool(1, x, output_size, layout=layout)


def adaptive_avg_pool1d_grad(dy: A, x_shape: Shape, *, layout: str = "NCHW") -> A:
    """The gradient of adaptive_avg_pool1d: dx[n,c,w] = sum of dy[n,c,q] / the size of its window, over the windows that
    cover w.

    dy: (N, C, Q), of NumPy or CuPy. x_shape: (N, C, W) of the forward input. Returns dx (N, C, W).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, C) and x_shape (N, W, C).
    Raises ValueError for shapes and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool1d_grad(np.ones((1, 1, 1)), (1, 1, 4))[0, 0]
    array([0.25, 0.25, 0.25, 0.25])
    """
    return checked.adaptive_avg_pool_grad(1, dy, x_shape, layout=layout)
