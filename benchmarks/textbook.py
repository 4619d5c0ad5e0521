"""The operations as a textbook writes them in NumPy: im2col of the whole batch, one product, window views.

A peer for the benchmarks, and an example of the signatures that `backstride bench --candidate` takes. Padding is an
(h, w) pair here; pools take no dilation and no ceil_mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Pair = tuple[int, int]
Array = np.ndarray

LARGEST_COLUMNS = 1 << 30
"""Bytes of im2col columns above which the textbook form is refused."""


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else tuple(value)


def _pad(x: Array, padding: Pair, fill: float = 0.0) -> Array:
    height, width = padding
    sides = ((0, 0), (0, 0), (height, height), (width, width))
    return np.pad(x, sides, constant_values=fill) if height or width else x


def _windows(x: Array, kernel: Pair, stride: Pair, dilation: int = 1) -> Array:
    """A view (N, C, P, Q, R, S) of an input that is padded already."""
    reach = tuple(dilation * (taps - 1) + 1 for taps in kernel)
    every = sliding_window_view(x, reach, axis=(2, 3))
    return every[:, :, :: stride[0], :: stride[1], ::dilation, ::dilation]


def _columns(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: int, groups: int) -> Array:
    """im2col: (groups, C/groups * R * S, N * P * Q)."""
    windows = _windows(_pad(x, padding), kernel, stride, dilation)
    if windows.size * x.itemsize > LARGEST_COLUMNS:
        raise NotImplementedError(f"whole-batch columns would take {windows.size * x.itemsize / 2**30:.1f} GiB")
    n, c, p, q, r, s = windows.shape
    return windows.transpose(1, 4, 5, 0, 2, 3).reshape(groups, c // groups * r * s, n * p * q)


def _by_channel(y: Array, groups: int) -> Array:
    """(N, K, P, Q) as (groups, K/groups, N * P * Q)."""
    return y.transpose(1, 0, 2, 3).reshape(groups, y.shape[1] // groups, -1)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    k, _, r, s = w.shape
    stride, padding = _pair(stride), _pair(padding)
    columns = _columns(x, (r, s), stride, padding, dilation, groups)
    p, q = (
        (extent + 2 * pad - dilation * (taps - 1) - 1) // step + 1
        for extent, pad, taps, step in zip(x.shape[2:], padding, (r, s), stride, strict=True)
    )
    y = (w.reshape(groups, k // groups, -1) @ columns).reshape(k, len(x), p, q).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(y if b is None else y + b.reshape(-1, 1, 1))


def conv2d_input_grad(
    dy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    k, _, r, s = w.shape
    (step_h, step_w), (top, left) = _pair(stride), _pair(padding)
    n, c, h, width = x_shape
    _, _, p, q = dy.shape
    if n * p * q * c * r * s * dy.itemsize > LARGEST_COLUMNS:
        raise NotImplementedError("whole-batch columns would take more than 1 GiB")
    columns = w.reshape(groups, k // groups, -1).transpose(0, 2, 1) @ _by_channel(dy, groups)
    columns = columns.reshape(c, r, s, n, p, q)
    padded = np.zeros((c, n, h + 2 * top, width + 2 * left), dtype=dy.dtype)
    for i in range(r):
        for j in range(s):
            rows = slice(i * dilation, i * dilation + (p - 1) * step_h + 1, step_h)
            cols = slice(j * dilation, j * dilation + (q - 1) * step_w + 1, step_w)
            padded[:, :, rows, cols] += columns[:, i, j]
    return np.ascontiguousarray(padded[:, :, top : top + h, left : left + width].transpose(1, 0, 2, 3))


def conv2d_weight_grad(
    dy: Array,
    x: Array,
    w_shape: tuple[int, ...],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    columns = _columns(x, _pair(w_shape[2:]), _pair(stride), _pair(padding), dilation, groups)
    return (_by_channel(dy, groups) @ columns.transpose(0, 2, 1)).reshape(w_shape)


def conv2d_bias_grad(dy: Array) -> Array:
    return dy.sum(axis=(0, 2, 3)).reshape(-1, 1, 1)


def max_pool2d(x: Array, kernel_size: Any, *, stride: Any = None, padding: Any = 0) -> tuple[Array, Array]:
    kernel = _pair(kernel_size)
    windows = _windows(_pad(x, _pair(padding), -np.inf), kernel, kernel if stride is None else _pair(stride))
    flat = windows.reshape(*windows.shape[:4], -1)
    taps = flat.argmax(axis=-1)
    y = np.take_along_axis(flat, taps[..., np.newaxis], axis=-1)[..., 0]
    return y, taps.astype(np.uint8 if flat.shape[-1] < 256 else np.uint16)


def max_pool2d_grad(
    dy: Array, taps: Array, x_shape: tuple[int, ...], kernel_size: Any, *, stride: Any = None, padding: Any = 0
) -> Array:
    kernel = _pair(kernel_size)
    step_h, step_w = kernel if stride is None else _pair(stride)
    top, left = _pair(padding)
    n, c, h, w = x_shape
    _, _, p, q = dy.shape
    rows = np.arange(p).reshape(-1, 1) * step_h + taps // kernel[1]
    cols = np.arange(q) * step_w + taps % kernel[1]
    plane = np.arange(n * c).reshape(n, c, 1, 1) * (h + 2 * top)
    padded = np.zeros((n, c, h + 2 * top, w + 2 * left), dtype=dy.dtype)
    np.add.at(padded.reshape(-1), ((plane + rows) * (w + 2 * left) + cols).reshape(-1), dy.reshape(-1))
    return np.ascontiguousarray(padded[:, :, top : top + h, left : left + w])


def avg_pool2d(x: Array, kernel_size: Any, *, stride: Any = None, padding: Any = 0) -> Array:
    kernel = _pair(kernel_size)
    return _windows(_pad(x, _pair(padding)), kernel, kernel if stride is None else _pair(stride)).mean(axis=(4, 5))


def avg_pool2d_grad(
    dy: Array, x_shape: tuple[int, ...], kernel_size: Any, *, stride: Any = None, padding: Any = 0
) -> Array:
    kernel = _pair(kernel_size)
    step_h, step_w = kernel if stride is None else _pair(stride)
    top, left = _pair(padding)
    n, c, h, w = x_shape
    _, _, p, q = dy.shape
    share = dy / (kernel[0] * kernel[1])
    padded = np.zeros((n, c, h + 2 * top, w + 2 * left), dtype=dy.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            padded[:, :, i : i + (p - 1) * step_h + 1 : step_h, j : j + (q - 1) * step_w + 1 : step_w] += share
    return np.ascontiguousarray(padded[:, :, top : top + h, left : left + w])


def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    return x @ w.T if b is None else x @ w.T + b


def linear_input_grad(dy: Array, w: Array) -> Array:
    return dy @ w


def linear_weight_grad(dy: Array, x: Array) -> Array:
    return dy.T @ x


def linear_bias_grad(dy: Array) -> Array:
    return dy.sum(axis=0)
