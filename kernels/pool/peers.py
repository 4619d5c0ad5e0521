"""Pooling by others: as a textbook writes it in NumPy, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..peers import Array, padded, slices, symmetric_padding, torch_empty, torch_memory_format, unpadded
from .geometry import AvgPoolGeometry, PoolGeometry


def max_pool2d(x: Array, g: PoolGeometry) -> tuple[Array, Array]:
    """Tap after tap takes the windows in which it is larger than all before it; the last NaN takes them all."""
    inside = padded(np.ones((1, 1, g.H, g.W), bool), g, False)
    x = padded(x, g)
    y = np.full(g.y_shape, -np.inf, x.dtype)
    taps = np.full(g.y_shape, g.no_tap, g.tap_dtype)
    for r, s, met in slices(g):
        value = x[met]
        wins = inside[met] & ((value > y) | (taps == g.no_tap) | np.isnan(value))
        y = np.where(wins, value, y)
        taps[wins] = r * g.S + s
    return y, taps


def max_pool2d_grad(dy: Array, taps: Array, g: PoolGeometry) -> Array:
    dx = padded(np.zeros(g.x_shape, dy.dtype), g)
    for r, s, met in slices(g):
        dx[met] += np.where(taps == r * g.S + s, dy, 0)
    return unpadded(dx, g)


def avg_pool2d(x: Array, g: AvgPoolGeometry) -> Array:
    x, y = padded(x, g), np.zeros(g.y_shape, x.dtype)
    for _, _, met in slices(g):
        y += x[met]
    return y / _divisors(g).astype(x.dtype)


def avg_pool2d_grad(dy: Array, g: AvgPoolGeometry) -> Array:
    dx, share = padded(np.zeros(g.x_shape, dy.dtype), g), dy / _divisors(g).astype(dy.dtype)
    for _, _, met in slices(g):
        dx[met] += share
    return unpadded(dx, g)


def _divisors(g: AvgPoolGeometry) -> Array:
    """(P, Q): the override, or how many taps of each window lie on the padded input, or on the input itself."""
    if g.divisor_override is not None:
        return np.full((g.P, g.Q), g.divisor_override)
    (_, bottom), (_, right) = g.padding
    counted = padded(np.ones((1, 1, g.H, g.W), int), g, int(g.count_include_pad))[0, 0]
    counted[g.padding[0][0] + g.H + bottom :] = 0
    counted[:, g.padding[1][0] + g.W + right :] = 0
    return sum((counted[met] for _, _, met in slices(g)), np.zeros((g.P, g.Q), int))


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "max_pool2d": max_pool2d,
    "max_pool2d_grad": max_pool2d_grad,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_grad": avg_pool2d_grad,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


def _torch_max_pool(x: Any, g: PoolGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    kernel, padding = (g.R, g.S), symmetric_padding(g)
    return lambda: F.max_pool2d(x, kernel, g.stride, padding, g.dilation, return_indices=True)


def _torch_max_pool_grad(dy: Any, taps: Any, g: PoolGeometry) -> Callable[[], Any]:
    """PyTorch takes positions, which its forward has left ready."""
    import torch
    from torch.ops import aten

    positions = torch.as_tensor(positions_of(taps, g), device=dy.device)
    indices = positions.contiguous(memory_format=torch_memory_format(dy))
    x = torch_empty(g.x_shape, dy)
    window = [g.R, g.S], list(g.stride), symmetric_padding(g), list(g.dilation)
    return lambda: aten.max_pool2d_with_indices_backward(dy, x, *window, False, indices)


def positions_of(taps: Array, g: PoolGeometry) -> Array:
    """The positions h*W + w in each plane that the taps stand for, -1 for a window wholly in padding."""
    r, s = np.divmod(taps.astype(np.int64), g.S)
    h = np.arange(g.P).reshape(-1, 1) * g.stride[0] - g.padding[0][0] + r * g.dilation[0]
    w = np.arange(g.Q) * g.stride[1] - g.padding[1][0] + s * g.dilation[1]
    return np.where(taps == g.no_tap, -1, h * g.W + w)


def _torch_avg_pool(x: Any, g: AvgPoolGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    kernel, padding = (g.R, g.S), symmetric_padding(g)
    return lambda: F.avg_pool2d(x, kernel, g.stride, padding, False, g.count_include_pad, g.divisor_override)


def _torch_avg_pool_grad(dy: Any, g: AvgPoolGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    x = torch_empty(g.x_shape, dy)
    window = [g.R, g.S], list(g.stride), symmetric_padding(g)
    return lambda: aten.avg_pool2d_backward(dy, x, *window, False, g.count_include_pad, g.divisor_override)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "max_pool2d": _torch_max_pool,
    "max_pool2d_grad": _torch_max_pool_grad,
    "avg_pool2d": _torch_avg_pool,
    "avg_pool2d_grad": _torch_avg_pool_grad,
}
