"""2-D convolution (cross-correlation, as in the deep learning literature), its gradients, and its transpose.

x is (N, C, H, W), w is (K, C/groups, R, S), y is (N, K, P, Q) with
P = floor((H + top + bottom - dilation*(R-1) - 1) / stride) + 1, and Q likewise.
`stride` and `dilation` are an int or an (h, w) pair; `padding` is an int, (h, w), ((top, bottom), (left, right)),
'valid' or 'same' (P = ceil(H / stride), the odd element at the bottom and right). All arrays of a call share one
dtype: float16, bfloat16, float32 or float64; 16-bit accumulates in float32 and rounds once; how float32 products are
made is the choice of backstride.set_float32_precision. Inputs may have any
strides and are never modified; outputs are C-contiguous. Every function raises ValueError for shapes and options
and TypeError for dtypes and array kinds, before any work.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from .geometry import ConvGeometry
from .path import ConvPath

path_of = Paths[ConvPath]("conv").of


def conv2d(
    x: Any, w: Any, b: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """y[n,k,p,q] = b[k] + sum over c,r,s of x[n,c,h,w] * w[k,c,r,s],
    with h = p*stride + r*dilation - top and w = q*stride + s*dilation - left; outside the input x is 0.

    b: (K,) or (K, 1, 1), or None. Returns y (N, K, P, Q).
    """
    checks.arrays("conv2d", x=x, w=w, b=b)
    geometry = ConvGeometry.of(
        "conv2d", x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    checks.bias("conv2d", b, geometry.K, geometry.b_shape)
    return path_of(x).conv2d(x, w, b, geometry)


def conv2d_input_grad(
    dy: Any, w: Any, x_shape: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """dx[n,c,h,w] = sum of dy[n,k,p,q] * w[k,c,r,s] over every k and every (p, q, r, s) that reads x[n,c,h,w].

    dy: (N, K, P, Q); x_shape: (N, C, H, W) of the forward input. Returns dx (N, C, H, W); elements that no window
    reaches get 0.
    """
    operation = "conv2d_input_grad"
    checks.arrays(operation, dy=dy, w=w)
    geometry = ConvGeometry.of(
        operation,
        x_shape,
        w.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        names=("x_shape", "w.shape"),
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, K, P, Q)")
    return path_of(dy).conv2d_input_grad(dy, w, geometry)


def conv2d_weight_grad(
    dy: Any, x: Any, w_shape: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """dw[k,c,r,s] = sum over n,p,q of dy[n,k,p,q] * x[n,c,h,w],
    with h = p*stride + r*dilation - top and w = q*stride + s*dilation - left; outside the input x is 0.

    dy: (N, K, P, Q); x: (N, C, H, W); w_shape: (K, C/groups, R, S). Returns dw of w_shape.
    """
    geometry = _of_gradient("conv2d_weight_grad", dy, x, w_shape, stride, padding, dilation, groups)
    return path_of(dy).conv2d_weight_grad(dy, x, geometry)


def conv2d_bias_grad(dy: Any) -> Any:
    """db[k] = sum over n,p,q of dy[n,k,p,q].  dy: (N, K, P, Q). Returns db (K, 1, 1)."""
    checks.arrays("conv2d_bias_grad", dy=dy)
    return path_of(dy).conv2d_bias_grad(dy, ConvGeometry.of_output("conv2d_bias_grad", dy.shape))


def conv2d_parameter_grads(
    dy: Any, x: Any, w_shape: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> tuple[Any, Any]:
    """(dw, db) of conv2d_weight_grad and conv2d_bias_grad. On CUDA the product that computes dw gives db as well, but
    for depthwise convolutions: dy is read once.

    dy: (N, K, P, Q); x: (N, C, H, W); w_shape: (K, C/groups, R, S). Returns dw of w_shape and db (K, 1, 1).
    """
    geometry = _of_gradient("conv2d_parameter_grads", dy, x, w_shape, stride, padding, dilation, groups)
    dw, db = path_of(dy).conv2d_parameter_grads(dy, x, geometry)
    return dw, db


def conv2d_grads(
    dy: Any, x: Any, w: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> tuple[Any, Any, Any]:
    """(dx, dw, db) of conv2d_input_grad, conv2d_weight_grad and conv2d_bias_grad. On CUDA one kernel gives all three of
    a tiny convolution, where separate launches take longer than the work.

    dy: (N, K, P, Q); x: (N, C, H, W); w: (K, C/groups, R, S). Returns dx and dw, shaped as x and w, and db (K, 1, 1).
    """
    operation = "conv2d_grads"
    checks.arrays(operation, dy=dy, x=x, w=w)
    geometry = ConvGeometry.of(
        operation, x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, K, P, Q)")
    dx, dw, db = path_of(dy).conv2d_grads(dy, x, w, geometry)
    return dx, dw, db


def _of_gradient(
    operation: str, dy: Any, x: Any, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> ConvGeometry:
    """The geometry of a weight gradient, its arguments checked."""
    checks.arrays(operation, dy=dy, x=x)
    geometry = ConvGeometry.of(
        operation,
        x.shape,
        w_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        names=("x.shape", "w_shape"),
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, K, P, Q)")
    return geometry


def conv_transpose2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The input gradient of conv2d, used as a forward operation (PyTorch's ConvTranspose2d).

    x: (N, C, H, W); w: (C, K/groups, R, S); b: (K,) or (K, 1, 1), or None. Returns y (N, K, H', W') with
    H' = (H-1)*stride - top - bottom + dilation*(R-1) + output_padding + 1; output_padding must be less than stride or
    dilation. Its own gradients, where output_padding is less than stride, are dx = conv2d(dy, w) and
    dw = conv2d_weight_grad(x, dy, w.shape), with the same stride, padding, dilation and groups.
    """
    operation = "conv_transpose2d"
    checks.arrays(operation, x=x, w=w, b=b)
    geometry = ConvGeometry.of_transposed(
        operation,
        x.shape,
        w.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    checks.bias(operation, b, geometry.C, (geometry.C, 1, 1))
    return path_of(x).conv_transpose2d(x, w, b, geometry)
