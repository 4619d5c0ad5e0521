"""3-D convolution (cross-correlation, as in the deep learning literature), its gradients, and its transpose."""

from __future__ import annotations

from ..types import A, Padding, PerAxis, Shape
from . import checked


def conv3d(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    activation: str | None = None,
    layout: str = "NCHW",
) -> A:
    """3-D convolution (cross-correlation, as in the deep learning literature).

    y[n,k,z,p,q] = b[k] + sum over c,t,r,s of x[n,c,d,h,w] * w[k,c,t,r,s],
    with d = z*stride + t*dilation - front, h = p*stride + r*dilation - top and w = q*stride + s*dilation - left;
    outside the input x is 0.

    x: (N, C, D, H, W). w: (K, C/groups, T, R, S). b: (K,) or (K, 1, 1, 1), or None.
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)), 'valid' (none) or 'same' (Z = ceil(D / stride), and so P and Q, the
    odd element at the back, bottom and right).
    activation: None, or 'relu' for max(y, 0); y has the bits of a separate call of relu.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, D, H, W, C), w (K, T, R, S, C/groups) and y (N, Z, P, Q,
    K).
    Returns y (N, K, Z, P, Q), where Z = floor((D + front + back - dilation*(T-1) - 1) / stride) + 1, and P and Q
    likewise.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous. 16-bit sums are kept in float32 and rounded once; how
    float32 products are made is the choice of backstride.set_float32_precision.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv3d(np.ones((1, 2, 6, 4, 5)), np.ones((3, 2, 2, 3, 2)), stride=2, padding=1).shape
    (1, 3, 4, 2, 3)
    >>> conv3d(np.array([[[[[1.0, 3.0, 2.0]]]]]), np.array([[[[[-1.0, 1.0]]]]]), activation="relu")
    array([[[[[2., 0.]]]]])
    """
    return checked.conv(
        3,
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


def conv3d_input_grad(
    dy: A,
    w: A,
    x_shape: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The gradient of conv3d with respect to its input.

    dx[n,c,d,h,w] = sum of dy[n,k,z,p,q] * w[k,c,t,r,s] over every k and every (z, p, q, t, r, s) that reads
    x[n,c,d,h,w].

    dy: (N, K, Z, P, Q). w: (K, C/groups, T, R, S). x_shape: (N, C, D, H, W) of the forward input.
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)), 'valid' (none) or 'same' (Z = ceil(D / stride), and so P and Q, the
    odd element at the back, bottom and right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, K), w (K, T, R, S, C/groups) and x_shape (N, D,
    H, W, C).
    Returns dx (N, C, D, H, W); elements that no window reaches get 0.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv3d_input_grad(np.ones((1, 1, 1, 2, 2)), np.ones((1, 1, 1, 2, 2)), (1, 1, 1, 3, 3))[0, 0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    return checked.input_grad(
        3, dy, w, x_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv3d_weight_grad(
    dy: A,
    x: A,
    w_shape: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The gradient of conv3d with respect to its weights.

    dw[k,c,t,r,s] = sum over n,z,p,q of dy[n,k,z,p,q] * x[n,c,d,h,w],
    with d = z*stride + t*dilation - front, h = p*stride + r*dilation - top and w = q*stride + s*dilation - left;
    outside the input x is 0.

    dy: (N, K, Z, P, Q). x: (N, C, D, H, W). w_shape: (K, C/groups, T, R, S).
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)), 'valid' (none) or 'same' (Z = ceil(D / stride), and so P and Q, the
    odd element at the back, bottom and right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, K), x (N, D, H, W, C) and w_shape (K, T, R, S,
    C/groups).
    Returns dw of w_shape.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dy, x = np.ones((1, 1, 2, 2, 2)), np.arange(18.0).reshape(1, 1, 2, 3, 3)
    >>> conv3d_weight_grad(dy, x, (1, 1, 1, 2, 2))[0, 0, 0]
    array([[52., 60.],
           [76., 84.]])
    """
    return checked.weight_grad(
        3, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv3d_bias_grad(dy: A, *, layout: str = "NCHW") -> A:
    """The gradient of conv3d with respect to its bias: db[k] = sum over n,z,p,q of dy[n,k,z,p,q].

    dy: (N, K, Z, P, Q), of NumPy or CuPy, float16, bfloat16, float32 or float64. Returns db (K, 1, 1, 1).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, K) and db (K,).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv3d_bias_grad(np.ones((2, 3, 2, 4, 5))).ravel()
    array([80., 80., 80.])
    """
    return checked.bias_grad(3, dy, layout=layout)


def conv3d_parameter_grads(
    dy: A,
    x: A,
    w_shape: Shape,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> tuple[A, A]:
    """(dw, db) of conv3d_weight_grad and conv3d_bias_grad. On CUDA the product that computes dw gives db as well, but
    for depthwise convolutions: dy is read once.

    dy: (N, K, Z, P, Q). x: (N, C, D, H, W). w_shape: (K, C/groups, T, R, S).
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)), 'valid' (none) or 'same' (Z = ceil(D / stride), and so P and Q, the
    odd element at the back, bottom and right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, K), x (N, D, H, W, C), w_shape (K, T, R, S,
    C/groups) and db (K,).
    Returns dw of w_shape and db (K, 1, 1, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dw, db = conv3d_parameter_grads(np.ones((1, 4, 2, 2, 2)), np.ones((1, 3, 3, 3, 3)), (4, 3, 2, 2, 2))
    >>> dw.shape, db.shape
    ((4, 3, 2, 2, 2), (4, 1, 1, 1))
    """
    return checked.parameter_grads(
        3, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv3d_grads(
    dy: A,
    x: A,
    w: A,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> tuple[A, A, A]:
    """(dx, dw, db) of conv3d_input_grad, conv3d_weight_grad and conv3d_bias_grad. On CUDA one kernel gives all three of
    a tiny convolution, where separate launches take longer than the work.

    dy: (N, K, Z, P, Q). x: (N, C, D, H, W). w: (K, C/groups, T, R, S).
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)), 'valid' (none) or 'same' (Z = ceil(D / stride), and so P and Q, the
    odd element at the back, bottom and right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Z, P, Q, K), x (N, D, H, W, C), w (K, T, R, S, C/groups)
    and db (K,).
    Returns dx and dw, shaped as x and w, and db (K, 1, 1, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dx, dw, db = conv3d_grads(np.ones((1, 4, 2, 2, 2)), np.ones((1, 3, 3, 3, 3)), np.ones((4, 3, 2, 2, 2)))
    >>> dx.shape, dw.shape, db.shape
    ((1, 3, 3, 3, 3), (4, 3, 2, 2, 2), (4, 1, 1, 1))
    """
    return checked.grads(3, dy, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout)


def conv_transpose3d(
    x: A,
    w: A,
    b: A | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> A:
    """The input gradient of conv3d, used as a forward operation (PyTorch's ConvTranspose3d).

    x: (N, C, D, H, W). w: (C, K/groups, T, R, S). b: (K,) or (K, 1, 1, 1), or None.
    stride, dilation: an int or a (d, h, w) tuple, at least 1. groups: divides C and K. padding: an int, (d, h, w),
    ((front, back), (top, bottom), (left, right)). output_padding: an int or a (d, h, w) tuple, less than stride or
    dilation.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, D, H, W, C), w (C, T, R, S, K/groups) and y (N, D', H', W',
    K).
    Returns y (N, K, D', H', W'), where D' = (D-1)*stride - front - back + dilation*(T-1) + output_padding + 1, and H'
    and W' likewise. Its own gradients, where output_padding is less than stride, are dx = conv3d(dy, w) and dw =
    conv3d_weight_grad(x, dy, w.shape), with the same stride, padding, dilation and groups.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv_transpose3d(np.ones((1, 3, 4, 4, 4)), np.ones((3, 2, 2, 2, 2)), stride=2).shape
    (1, 2, 8, 8, 8)
    """
    return checked.transpose(
        3,
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
