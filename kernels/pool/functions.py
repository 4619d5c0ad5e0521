"""2-D max and average pooling and their gradients, with PyTorch's output sizes, ties, NaN and divisor rules.

x is (N, C, H, W), y is (N, C, P, Q). `kernel_size`, `stride` (None: kernel_size) and `dilation` are an int or an
(h, w) pair; `padding` takes the forms of conv2d and is at most dilation*(kernel_size-1) per side. Dtypes: float16,
bfloat16, float32, float64. Every function raises ValueError for shapes and options and TypeError for dtypes and array
kinds, before any work.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from .geometry import AvgPoolGeometry, PoolGeometry
from .path import PoolPath

path_of = Paths[PoolPath]("pool").of


def max_pool2d(
    x: Any, kernel_size: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[Any, Any]:
    """The largest element of every window, and the tap r*S + s at which it stood.

    Ties: the first tap wins. NaN wins over everything, and the last NaN of the window is the tap (PyTorch's rule,
    aten/src/ATen/native/cuda/DilatedMaxPool2d.cu). Padding never wins; a window wholly in padding gives -inf.
    Returns (y, taps), both (N, C, P, Q); taps is uint8 where R*S < 256, else uint16 where R*S < 65536, else int32; the
    type's largest value marks a window wholly in padding.
    """
    checks.arrays("max_pool2d", x=x)
    geometry = PoolGeometry.of(
        "max_pool2d", x.shape, kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return path_of(x).max_pool2d(x, geometry)


def max_pool2d_grad(
    dy: Any,
    taps: Any,
    x_shape: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """dx[n,c,h,w] = sum of dy[n,c,p,q] over the windows whose tap is (h, w).

    dy and taps: (N, C, P, Q), taps as max_pool2d returned them; x_shape: (N, C, H, W). Returns dx (N, C, H, W).
    """
    operation = "max_pool2d_grad"
    checks.arrays(operation, dy=dy)
    checks.one_library(operation, dy=dy, taps=taps)
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
    return path_of(dy).max_pool2d_grad(dy, taps, geometry)


def max_pool2d_indices(
    taps: Any,
    x_shape: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """The positions h*W + w in each plane of x that the taps stand for, as PyTorch's return_indices gives them.

    taps: (N, C, P, Q) as max_pool2d returned them. Returns int64 (N, C, P, Q); -1 for a window wholly in padding.
    """
    operation = "max_pool2d_indices"
    checks.one_library(operation, taps=taps)
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
    return path_of(taps).max_pool2d_indices(taps, geometry)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The sum of every window over a divisor: its extent clipped to the padded input, or, without
    count_include_pad, the number of its elements inside the input, or divisor_override.

    Returns y (N, C, P, Q). The rules are PyTorch's (aten/src/ATen/native/cuda/AveragePool2d.cu).
    """
    operation = "avg_pool2d"
    checks.arrays(operation, x=x)
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
    return path_of(x).avg_pool2d(x, geometry)


def avg_pool2d_grad(
    dy: Any,
    x_shape: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """dx[n,c,h,w] = sum of dy[n,c,p,q] / divisor[p,q] over the windows that cover (h, w).

    dy: (N, C, P, Q); x_shape: (N, C, H, W). Returns dx (N, C, H, W).
    """
    operation = "avg_pool2d_grad"
    checks.arrays(operation, dy=dy)
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
    return path_of(dy).avg_pool2d_grad(dy, geometry)


def _check_taps(operation: str, taps: Any, geometry: PoolGeometry) -> None:
    if taps.dtype != geometry.tap_dtype:
        expected = f"{geometry.tap_dtype}, as max_pool2d returns for a {geometry.R}x{geometry.S} window"
        raise checks.type_error(operation, "taps.dtype", taps.dtype, expected)
    checks.has_shape(operation, "taps", taps, geometry.y_shape, "(N, C, P, Q)")
