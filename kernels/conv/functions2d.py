"""2-D convolution (cross-correlation, as in the deep learning literature), its gradients, and its transpose."""

from __future__ import annotations

from ..types import A, IntOrPair, Padding, Shape
from . import checked


def conv2d(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    activation: str | None = None,
    layout: str = "NCHW",
) -> A:
    """2-D convolution (cross-correlation, as in the deep learning literature).

    y[n,k,p,q] = b[k] + sum over c,r,s of x[n,c,h,w] * w[k,c,r,s],
    with h = p*stride + r*dilation - top and w = q*stride + s*dilation - left; outside the input x is 0.

    x: (N, C, H, W). w: (K, C/groups, R, S). b: (K,) or (K, 1, 1), or None.
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' (none) or 'same' (P = ceil(H / stride), the odd row and column at the bottom and
    right).
    activation: None, or 'relu' for max(y, 0); y has the bits of a separate call of relu.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, H, W, C), w (K, R, S, C/groups) and y (N, P, Q, K).
    Returns y (N, K, P, Q), where P = floor((H + top + bottom - dilation*(R-1) - 1) / stride) + 1, and Q likewise.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous. 16-bit sums are kept in float32 and rounded once; how
    float32 products are made is the choice of backstride.set_float32_precision.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv2d(np.ones((1, 2, 4, 5)), np.ones((3, 2, 3, 2)), stride=2, padding=1).shape
    (1, 3, 2, 3)
    >>> conv2d(np.array([[[[1.0, 3.0, 2.0]]]]), np.array([[[[-1.0, 1.0]]]]), activation="relu")
    array([[[[2., 0.]]]])
    """
    return checked.conv(
        2,
        x,
        w,
        b,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation,
        layout=layout,
    )


def conv2d_input_grad(
    dy: A,
    w: A,
    x_shape: Shape,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The gradient of conv2d with respect to its input.

    dx[n,c,h,w] = sum of dy[n,k,p,q] * w[k,c,r,s] over every k and every (p, q, r, s) that reads x[n,c,h,w].

    dy: (N, K, P, Q). w: (K, C/groups, R, S). x_shape: (N, C, H, W) of the forward input.
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' (none) or 'same' (P = ceil(H / stride), the odd row and column at the bottom and
    right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, P, Q, K), w (K, R, S, C/groups) and x_shape (N, H, W, C).
    Returns dx (N, C, H, W); elements that no window reaches get 0.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv2d_input_grad(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1, 3, 3))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    return checked.input_grad(
        2, dy, w, x_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv2d_weight_grad(
    dy: A,
    x: A,
    w_shape: Shape,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The gradient of conv2d with respect to its weights.

    dw[k,c,r,s] = sum over n,p,q of dy[n,k,p,q] * x[n,c,h,w],
    with h = p*stride + r*dilation - top and w = q*stride + s*dilation - left; outside the input x is 0.

    dy: (N, K, P, Q). x: (N, C, H, W). w_shape: (K, C/groups, R, S).
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' (none) or 'same' (P = ceil(H / stride), the odd row and column at the bottom and
    right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, P, Q, K), x (N, H, W, C) and w_shape (K, R, S, C/groups).
    Returns dw of w_shape.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv2d_weight_grad(np.ones((1, 1, 2, 2)), np.arange(9.0).reshape(1, 1, 3, 3), (1, 1, 2, 2))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    return checked.weight_grad(
        2, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv2d_bias_grad(dy: A, *, layout: str = "NCHW") -> A:
    """The gradient of conv2d with respect to its bias: db[k] = sum over n,p,q of dy[n,k,p,q].

    dy: (N, K, P, Q), of NumPy or CuPy, float16, bfloat16, float32 or float64. Returns db (K, 1, 1).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, P, Q, K) and db (K,).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv2d_bias_grad(np.ones((2, 3, 4, 5))).ravel()
    array([40., 40., 40.])
    """
    return checked.bias_grad(2, dy, layout=layout)


def conv2d_parameter_grads(
    dy: A,
    x: A,
    w_shape: Shape,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> tuple[A, A]:
    """(dw, db) of conv2d_weight_grad and conv2d_bias_grad. On CUDA the product that computes dw gives db as well, but
    for depthwise convolutions: dy is read once.

    dy: (N, K, P, Q). x: (N, C, H, W). w_shape: (K, C/groups, R, S).
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' (none) or 'same' (P = ceil(H / stride), the odd row and column at the bottom and
    right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, P, Q, K), x (N, H, W, C), w_shape (K, R, S, C/groups) and
    db (K,).
    Returns dw of w_shape and db (K, 1, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dw, db = conv2d_parameter_grads(np.ones((1, 4, 2, 2)), np.ones((1, 3, 3, 3)), (4, 3, 2, 2))
    >>> dw.shape, db.shape
    ((4, 3, 2, 2), (4, 1, 1))
    """
    return checked.parameter_grads(
        2, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv2d_grads(
    dy: A,
    x: A,
    w: A,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> tuple[A, A, A]:
    """(dx, dw, db) of conv2d_input_grad, conv2d_weight_grad and conv2d_bias_grad. On CUDA one kernel gives all three of
    a tiny convolution, where separate launches take longer than the work.

    dy: (N, K, P, Q). x: (N, C, H, W). w: (K, C/groups, R, S).
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)), 'valid' (none) or 'same' (P = ceil(H / stride), the odd row and column at the bottom and
    right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, P, Q, K), x (N, H, W, C), w (K, R, S, C/groups) and db
    (K,).
    Returns dx and dw, shaped as x and w, and db (K, 1, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dx, dw, db = conv2d_grads(np.ones((1, 4, 2, 2)), np.ones((1, 3, 3, 3)), np.ones((4, 3, 2, 2)))
    >>> dx.shape, dw.shape, db.shape
    ((1, 3, 3, 3), (4, 3, 2, 2), (4, 1, 1))
    """
    return checked.grads(2, dy, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout)


def conv_transpose2d(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    output_padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The input gradient of conv2d, used as a forward operation (PyTorch's ConvTranspose2d).

    x: (N, C, H, W). w: (C, K/groups, R, S). b: (K,) or (K, 1, 1), or None.
    stride, dilation: an int or an (h, w) pair, at least 1. groups: divides C and K. padding: an int, (h, w), ((top,
    bottom), (left, right)). output_padding: an int or an (h, w) pair, less than stride or dilation.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, H, W, C), w (C, R, S, K/groups) and y (N, H', W', K).
    Returns y (N, K, H', W'), where H' = (H-1)*stride - top - bottom + dilation*(R-1) + output_padding + 1, and W'
    likewise. Its own gradients, where output_padding is less than stride, are dx = conv2d(dy, w) and dw =
    conv2d_weight_grad(x, dy, w.shape), with the same stride, padding, dilation and groups.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv_transpose2d(np.ones((1, 3, 4, 4)), np.ones((3, 2, 2, 2)), stride=2).shape
    (1, 2, 8, 8)
    """
    return checked.transpose(
        2,
        x,
        w,
        b,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
        layout=layout,
    )
