"""2-D max and average pooling and their gradients, with PyTorch's output sizes, ties, NaN and divisor rules."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A, Array, IntOrPair, Padding, Shape
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry
from .path import PoolPath

path_of = Paths[PoolPath]("pool").of


def max_pool2d(
    x: A,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> tuple[A, Any]:
    """The largest element of every window, and the tap r*S + s at which it stood.

    x: (N, C, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size), dilation: an int or an (h, w) pair. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last
    window may reach past the padding; it must start inside x or the leading padding.
    Returns (y, taps), both (N, C, P, Q). Ties: the first tap wins. NaN wins over everything, and the last NaN of the
    window is the tap (PyTorch's rule, aten/src/ATen/native/cuda/DilatedMaxPool2d.cu). Padding never wins; a window
    wholly in padding gives -inf. taps is uint8 where R*S < 256, else uint16 where R*S < 65536, else int32; the type's
    largest value marks a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    >>> y[0, 0], taps.dtype
    (array([[ 5.,  7.],
           [13., 15.]]), dtype('uint8'))
    """
    (x,) = checks.arrays("max_pool2d", x=x)
    geometry = PoolGeometry.of(
        "max_pool2d", x.shape, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return path_of(x).max_pool(x, geometry)


def max_pool2d_grad(
    dy: A,
    taps: Array,
    x_shape: Shape,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> A:
    """The gradient of max_pool2d: dx[n,c,h,w] = sum of dy[n,c,p,q] over the windows whose tap is (h, w).

    dy: (N, C, P, Q). taps: (N, C, P, Q), as max_pool2d returned them. x_shape: (N, C, H, W) of the forward input.
    kernel_size, stride (None: kernel_size), dilation: an int or an (h, w) pair. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last
    window may reach past the padding; it must start inside x or the leading padding.
    Returns dx (N, C, H, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool2d(np.arange(4.0).reshape(1, 1, 2, 2), 2)
    >>> max_pool2d_grad(np.ones((1, 1, 1, 1)), taps, (1, 1, 2, 2), 2)[0, 0]
    array([[0., 0.],
           [0., 1.]])
    """
    operation = "max_pool2d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    dy, taps = checks.one_library(operation, dy=dy, taps=taps)
    geometry = PoolGeometry.of(
        operation,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        name="x_shape",
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, C, P, Q)")
    _check_taps(operation, taps, geometry)
    return path_of(dy).max_pool_grad(dy, taps, geometry)


def max_pool2d_indices(
    taps: Array,
    x_shape: Shape,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
) -> Any:
    """The positions h*W + w in each plane of x that the taps stand for, as PyTorch's return_indices gives them.

    taps: (N, C, P, Q), as max_pool2d returned them. x_shape: (N, C, H, W) of the forward input.
    kernel_size, stride (None: kernel_size), dilation: an int or an (h, w) pair. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' or 'same', at most dilation*(kernel_size-1) on each side. ceil_mode: whether a last
    window may reach past the padding; it must start inside x or the leading padding.
    Returns int64 (N, C, P, Q); -1 for a window wholly in padding.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> y, taps = max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    >>> max_pool2d_indices(taps, (1, 1, 4, 4), 2)[0, 0]
    array([[ 5,  7],
           [13, 15]])
    """
    operation = "max_pool2d_indices"
    (taps,) = checks.one_library(operation, taps=taps)
    geometry = PoolGeometry.of(
        operation,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        name="x_shape",
    )
    _check_taps(operation, taps, geometry)
    return path_of(taps).max_pool_indices(taps, geometry)


def avg_pool2d(
    x: A,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> A:
    """The sum of every window over a divisor: the window's extent clipped to the padded input, or, without
    count_include_pad, the number of its elements inside the input, or divisor_override (an int other than 0).

    x: (N, C, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64.
    kernel_size, stride (None: kernel_size): an int or an (h, w) pair. padding: an int, (h, w), ((top, bottom), (left,
    right)), 'valid' or 'same', at most kernel_size-1 on each side. ceil_mode: whether a last window may reach past the
    padding; it must start inside x or the leading padding.
    Returns y (N, C, P, Q). The rules are PyTorch's (aten/src/ATen/native/cuda/AveragePool2d.cu).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    operation = "avg_pool2d"
    (x,) = checks.arrays(operation, x=x)
    geometry = AvgPoolGeometry.of_average(
        operation,
        x.shape,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return path_of(x).avg_pool(x, geometry)


def avg_pool2d_grad(
    dy: A,
    x_shape: Shape,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> A:
    """The gradient of avg_pool2d: dx[n,c,h,w] = sum of dy[n,c,p,q] / divisor[p,q] over the windows that cover (h, w).

    dy: (N, C, P, Q). x_shape: (N, C, H, W) of the forward input. count_include_pad, divisor_override: as avg_pool2d's.
    kernel_size, stride (None: kernel_size): an int or an (h, w) pair. padding: an int, (h, w), ((top, bottom), (left,
    right)), 'valid' or 'same', at most kernel_size-1 on each side. ceil_mode: whether a last window may reach past the
    padding; it must start inside x or the leading padding.
    Returns dx (N, C, H, W).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> avg_pool2d_grad(np.ones((1, 1, 1, 1)), (1, 1, 2, 2), 2)[0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    operation = "avg_pool2d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    geometry = AvgPoolGeometry.of_average(
        operation,
        x_shape,
        kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
        name="x_shape",
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, C, P, Q)")
    return path_of(dy).avg_pool_grad(dy, geometry)


def adaptive_avg_pool2d(x: A, output_size: IntOrPair) -> A:
    """The average of each of output_size windows, which share x's rows and columns as evenly as they can.

    Window p covers rows floor(p*H/P) to ceil((p+1)*H/P), and columns likewise; windows overlap where the extent is no
    multiple (PyTorch's rule, aten/src/ATen/native/AdaptivePooling.h).
    x: (N, C, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64. output_size: an int or a (P, Q) pair, at
    least 1. Returns y (N, C, P, Q).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.arange(9.0).reshape(1, 1, 3, 3), 2)[0, 0]
    array([[2., 3.],
           [5., 6.]])
    """
    operation = "adaptive_avg_pool2d"
    (x,) = checks.arrays(operation, x=x)
    geometry = AdaptivePoolGeometry.of(operation, x.shape, output_size=output_size)
    return path_of(x).adaptive_avg_pool(x, geometry)


def adaptive_avg_pool2d_grad(dy: A, x_shape: Shape) -> A:
    """The gradient of adaptive_avg_pool2d: dx[n,c,h,w] = sum of dy[n,c,p,q] / the size of its window, over the windows
    that cover (h, w).

    dy: (N, C, P, Q), of NumPy or CuPy. x_shape: (N, C, H, W) of the forward input. Returns dx (N, C, H, W).
    Raises ValueError for shapes and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> adaptive_avg_pool2d_grad(np.ones((1, 1, 1, 1)), (1, 1, 2, 2))[0, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    operation = "adaptive_avg_pool2d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    _, _, *windows = checks.shape(operation, "dy.shape", dy.shape, ("N", "C", "P", "Q"))
    geometry = AdaptivePoolGeometry.of(operation, x_shape, output_size=windows, name="x_shape")
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, C, P, Q)")
    return path_of(dy).adaptive_avg_pool_grad(dy, geometry)


def _check_taps(operation: str, taps: Any, geometry: PoolGeometry) -> None:
    if taps.dtype != geometry.tap_dtype:
        expected = f"{geometry.tap_dtype}, as max_pool2d returns for a {geometry.R}x{geometry.S} window"
        raise checks.type_error(operation, "taps.dtype", taps.dtype, expected)
    checks.has_shape(operation, "taps", taps, geometry.y_shape, "(N, C, P, Q)")
