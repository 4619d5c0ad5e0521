"""1-D convolution (cross-correlation, as in the deep learning literature), its gradients, and its transpose."""

from __future__ import annotations

from ..types import A, Padding, PerAxis, Shape
from . import checked


def conv1d(
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
    """1-D convolution (cross-correlation, as in the deep learning literature).

    y[n,k,q] = b[k] + sum over c,s of x[n,c,w] * w[k,c,s],
    with x's w = q*stride + s*dilation - left; outside the input x is 0.

    x: (N, C, W). w: (K, C/groups, S). b: (K,) or (K, 1), or None.
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),), 'valid' (none) or 'same' (Q = ceil(W / stride), the odd element at the right).
    activation: None, or 'relu' for max(y, 0); y has the bits of a separate call of relu.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, W, C), w (K, S, C/groups) and y (N, Q, K).
    Returns y (N, K, Q), where Q = floor((W + left + right - dilation*(S-1) - 1) / stride) + 1.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous. 16-bit sums are kept in float32 and rounded once; how
    float32 products are made is the choice of backstride.set_float32_precision.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv1d(np.ones((1, 2, 5)), np.ones((3, 2, 2)), stride=2, padding=1).shape
    (1, 3, 3)
    >>> conv1d(np.array([[[1.0, 3.0, 2.0]]]), np.array([[[-1.0, 1.0]]]), activation="relu")
    array([[[2., 0.]]])
    """
    return checked.conv(
        1,
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


def conv1d_input_grad(
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
    """The gradient of conv1d with respect to its input.

    dx[n,c,w] = sum of dy[n,k,q] * w[k,c,s] over every k and every (q, s) that reads x[n,c,w].

    dy: (N, K, Q). w: (K, C/groups, S). x_shape: (N, C, W) of the forward input.
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),), 'valid' (none) or 'same' (Q = ceil(W / stride), the odd element at the right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, K), w (K, S, C/groups) and x_shape (N, W, C).
    Returns dx (N, C, W); elements that no window reaches get 0.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv1d_input_grad(np.ones((1, 1, 2)), np.ones((1, 1, 2)), (1, 1, 3))[0, 0]
    array([1., 2., 1.])
    """
    return checked.input_grad(
        1, dy, w, x_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv1d_weight_grad(
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
    """The gradient of conv1d with respect to its weights.

    dw[k,c,s] = sum over n,q of dy[n,k,q] * x[n,c,w],
    with x's w = q*stride + s*dilation - left; outside the input x is 0.

    dy: (N, K, Q). x: (N, C, W). w_shape: (K, C/groups, S).
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),), 'valid' (none) or 'same' (Q = ceil(W / stride), the odd element at the right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, K), x (N, W, C) and w_shape (K, S, C/groups).
    Returns dw of w_shape.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv1d_weight_grad(np.ones((1, 1, 2)), np.arange(3.0).reshape(1, 1, 3), (1, 1, 2))[0, 0]
    array([1., 3.])
    """
    return checked.weight_grad(
        1, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv1d_bias_grad(dy: A, *, layout: str = "NCHW") -> A:
    """The gradient of conv1d with respect to its bias: db[k] = sum over n,q of dy[n,k,q].

    dy: (N, K, Q), of NumPy or CuPy, float16, bfloat16, float32 or float64. Returns db (K, 1).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, K) and db (K,).
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv1d_bias_grad(np.ones((2, 3, 5))).ravel()
    array([10., 10., 10.])
    """
    return checked.bias_grad(1, dy, layout=layout)


def conv1d_parameter_grads(
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
    """(dw, db) of conv1d_weight_grad and conv1d_bias_grad. On CUDA the product that computes dw gives db as well, but
    for depthwise convolutions: dy is read once.

    dy: (N, K, Q). x: (N, C, W). w_shape: (K, C/groups, S).
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),), 'valid' (none) or 'same' (Q = ceil(W / stride), the odd element at the right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, K), x (N, W, C), w_shape (K, S, C/groups) and db (K,).
    Returns dw of w_shape and db (K, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dw, db = conv1d_parameter_grads(np.ones((1, 4, 2)), np.ones((1, 3, 3)), (4, 3, 2))
    >>> dw.shape, db.shape
    ((4, 3, 2), (4, 1))
    """
    return checked.parameter_grads(
        1, dy, x, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout
    )


def conv1d_grads(
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
    """(dx, dw, db) of conv1d_input_grad, conv1d_weight_grad and conv1d_bias_grad. On CUDA one kernel gives all three of
    a tiny convolution, where separate launches take longer than the work.

    dy: (N, K, Q). x: (N, C, W). w: (K, C/groups, S).
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),), 'valid' (none) or 'same' (Q = ceil(W / stride), the odd element at the right).
    layout: 'NCHW', or 'NHWC' where channels are last: dy (N, Q, K), x (N, W, C), w (K, S, C/groups) and db (K,).
    Returns dx and dw, shaped as x and w, and db (K, 1).
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dx, dw, db = conv1d_grads(np.ones((1, 4, 2)), np.ones((1, 3, 3)), np.ones((4, 3, 2)))
    >>> dx.shape, dw.shape, db.shape
    ((1, 3, 3), (4, 3, 2), (4, 1))
    """
    return checked.grads(1, dy, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups, layout=layout)


def conv_transpose1d(
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
    """The input gradient of conv1d, used as a forward operation (PyTorch's ConvTranspose1d).

    x: (N, C, W). w: (C, K/groups, S). b: (K,) or (K, 1), or None.
    stride, dilation: an int or a (w,) tuple, at least 1. groups: divides C and K. padding: an int, (w,), ((left,
    right),). output_padding: an int or a (w,) tuple, less than stride or dilation.
    layout: 'NCHW', or 'NHWC' where channels are last: x (N, W, C), w (C, S, K/groups) and y (N, W', K).
    Returns y (N, K, W'), where W' = (W-1)*stride - left - right + dilation*(S-1) + output_padding + 1. Its own
    gradients, where output_padding is less than stride, are dx = conv1d(dy, w) and dw = conv1d_weight_grad(x, dy,
    w.shape), with the same stride, padding, dilation and groups.
    Arrays are all NumPy's or all CuPy's, of one dtype: float16, bfloat16, float32 or float64. Inputs may have any
    strides and are never modified; results are C-contiguous.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> conv_transpose1d(np.ones((1, 3, 4)), np.ones((3, 2, 2)), stride=2).shape
    (1, 2, 8)
    """
    return checked.transpose(
        1,
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
