"""A student's convolution, pooling and linear: right, slow, of NumPy alone. Tests make one mistake at a time in it."""

import numpy as np


def _two(value):
    return value if isinstance(value, tuple) else (value, value)


def _sizes(x_shape, kernel, stride, padding, dilation):
    height, width = x_shape[2] + 2 * padding[0], x_shape[3] + 2 * padding[1]
    rows = (height - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    return rows, columns


def _padded(x, padding, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=value)


def _cropped(x, padding, x_shape):
    return x[:, :, padding[0] : padding[0] + x_shape[2], padding[1] : padding[1] + x_shape[3]].copy()


def _window(p, q, kernel, stride, dilation):
    """The rows and the columns of a padded image that window (p, q) takes."""
    rows = slice(p * stride[0], p * stride[0] + dilation[0] * (kernel[0] - 1) + 1, dilation[0])
    columns = slice(q * stride[1], q * stride[1] + dilation[1] * (kernel[1] - 1) + 1, dilation[1])
    return slice(None), slice(None), rows, columns


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1):
    stride, padding, dilation, kernel = _two(stride), _two(padding), _two(dilation), w.shape[2:]
    P, Q = _sizes(x.shape, kernel, stride, padding, dilation)
    y, x = np.zeros((len(x), len(w), P, Q)), _padded(x, padding)
    for p in range(P):
        for q in range(Q):
            y[:, :, p, q] = np.einsum("ncrs,kcrs->nk", x[_window(p, q, kernel, stride, dilation)], w)
    return y if b is None else y + b.reshape(-1, 1, 1)


def conv2d_input_grad(dy, w, x_shape, *, stride=1, padding=0, dilation=1):
    stride, padding, dilation, kernel = _two(stride), _two(padding), _two(dilation), w.shape[2:]
    dx = _padded(np.zeros(x_shape), padding)
    for p in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            dx[_window(p, q, kernel, stride, dilation)] += np.einsum("nk,kcrs->ncrs", dy[:, :, p, q], w)
    return _cropped(dx, padding, x_shape)


def conv2d_weight_grad(dy, x, w_shape, *, stride=1, padding=0, dilation=1):
    stride, padding, dilation, kernel = _two(stride), _two(padding), _two(dilation), w_shape[2:]
    dw, x = np.zeros(w_shape), _padded(x, padding)
    for p in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            dw += np.einsum("nk,ncrs->kcrs", dy[:, :, p, q], x[_window(p, q, kernel, stride, dilation)])
    return dw


def conv2d_bias_grad(dy):
    return dy.sum((0, 2, 3))


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1):
    kernel, padding, dilation = _two(kernel_size), _two(padding), _two(dilation)
    stride = _two(kernel_size if stride is None else stride)
    P, Q = _sizes(x.shape, kernel, stride, padding, dilation)
    taps, x = np.zeros((*x.shape[:2], P, Q), int), _padded(x, padding, -np.inf)
    y = np.zeros(taps.shape)
    for p in range(P):
        for q in range(Q):
            window = x[_window(p, q, kernel, stride, dilation)].reshape(*x.shape[:2], kernel[0] * kernel[1])
            taps[:, :, p, q], y[:, :, p, q] = window.argmax(2), window.max(2)
    return y, taps


def max_pool2d_grad(dy, taps, x_shape, kernel_size, *, stride=None, padding=0, dilation=1):
    kernel, padding, dilation = _two(kernel_size), _two(padding), _two(dilation)
    stride = _two(kernel_size if stride is None else stride)
    dx = _padded(np.zeros(x_shape), padding)
    for p in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            won = taps[:, :, p, q, None] == np.arange(kernel[0] * kernel[1])
            share = (won * dy[:, :, p, q, None]).reshape(*x_shape[:2], *kernel)
            dx[_window(p, q, kernel, stride, dilation)] += share
    return _cropped(dx, padding, x_shape)


def avg_pool2d(x, kernel_size, *, stride=None, padding=0):
    kernel, padding = _two(kernel_size), _two(padding)
    stride = _two(kernel_size if stride is None else stride)
    P, Q = _sizes(x.shape, kernel, stride, padding, (1, 1))
    y, x = np.zeros((*x.shape[:2], P, Q)), _padded(x, padding)
    for p in range(P):
        for q in range(Q):
            y[:, :, p, q] = x[_window(p, q, kernel, stride, (1, 1))].sum((2, 3)) / (kernel[0] * kernel[1])
    return y


def avg_pool2d_grad(dy, x_shape, kernel_size, *, stride=None, padding=0):
    kernel, padding = _two(kernel_size), _two(padding)
    stride = _two(kernel_size if stride is None else stride)
    dx = _padded(np.zeros(x_shape), padding)
    for p in range(dy.shape[2]):
        for q in range(dy.shape[3]):
            share = dy[:, :, p, q, None, None] / (kernel[0] * kernel[1])
            dx[_window(p, q, kernel, stride, (1, 1))] += share
    return _cropped(dx, padding, x_shape)


def linear(x, w, b=None):
    y = x @ w.T
    return y if b is None else y + b


def linear_input_grad(dy, w):
    return dy @ w


def linear_weight_grad(dy, x):
    return dy.T @ x


def linear_bias_grad(dy):
    return dy.sum(0)
