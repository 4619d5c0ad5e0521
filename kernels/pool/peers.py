"""Pooling by others: as a textbook writes it in NumPy, and in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import numpy as np

from ..axis import Axis
from ..layout import by_channels_first
from ..peers import (
    Array,
    padded,
    slices,
    symmetric_padding,
    torch_empty,
    torch_function,
    torch_layout,
    torch_memory_format,
    unpadded,
)
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry


@by_channels_first
def max_pool(x: Array, g: PoolGeometry) -> tuple[Array, Array]:
    """Tap after tap takes the windows in which it is larger than all before it; the last NaN takes them all."""
    inside = padded(np.ones((1, 1, *g.extents), bool), g, False)
    x = padded(x, g)
    y = np.full(g.y_shape, -np.inf, x.dtype)
    taps = np.full(g.y_shape, g.no_tap, g.tap_dtype)
    for number, met in enumerate(slices(g)):
        value = x[met]
        wins = inside[met] & ((value > y) | (taps == g.no_tap) | np.isnan(value))
        y = np.where(wins, value, y)
        taps[wins] = number
    return y, taps


@by_channels_first
def max_pool_grad(dy: Array, taps: Array, g: PoolGeometry) -> Array:
    dx = padded(np.zeros(g.x_shape, dy.dtype), g)
    for number, met in enumerate(slices(g)):
        dx[met] += np.where(taps == number, dy, 0)
    return unpadded(dx, g)


@by_channels_first
def avg_pool(x: Array, g: AvgPoolGeometry) -> Array:
    x, y = padded(x, g), np.zeros(g.y_shape, x.dtype)
    for met in slices(g):
        y += x[met]
    return y / _divisors(g).astype(x.dtype)


@by_channels_first
def avg_pool_grad(dy: Array, g: AvgPoolGeometry) -> Array:
    dx, share = padded(np.zeros(g.x_shape, dy.dtype), g), dy / _divisors(g).astype(dy.dtype)
    for met in slices(g):
        dx[met] += share
    return unpadded(dx, g)


@by_channels_first
def adaptive_avg_pool(x: Array, g: AdaptivePoolGeometry) -> Array:
    y = np.zeros(g.y_shape, x.dtype)
    for window, met in _adaptive_windows(g):
        y[window] = x[met].mean(axis=tuple(range(2, x.ndim)))
    return y


@by_channels_first
def adaptive_avg_pool_grad(dy: Array, g: AdaptivePoolGeometry) -> Array:
    dx = np.zeros(g.x_shape, dy.dtype)
    for window, met in _adaptive_windows(g):
        dx[met] += np.expand_dims(dy[window], tuple(range(2, dx.ndim))) / math.prod(dx[met].shape[2:])
    return dx


def _adaptive_windows(g: AdaptivePoolGeometry) -> Iterator[tuple[Any, Any]]:
    """Every window, with the part of the input that it covers."""
    whole = slice(None)
    for window in np.ndindex(g.windows):
        starts = (i * extent // count for i, extent, count in zip(window, g.extents, g.windows, strict=True))
        stops = (((i + 1) * e + n - 1) // n for i, e, n in zip(window, g.extents, g.windows, strict=True))
        yield (whole, whole, *window), (whole, whole, *map(slice, starts, stops))


def _divisors(g: AvgPoolGeometry) -> Array:
    """Of each window: the override, or how many taps lie on the padded input, or on the input itself."""
    if g.divisor_override is not None:
        return np.full(g.windows, g.divisor_override)
    return reduce(np.multiply.outer, [_counted(axis, g.count_include_pad) for axis in g.axes])


def _counted(axis: Axis, padding: bool) -> Array:
    positions = _starts(axis).reshape(-1, 1) + np.arange(axis.taps)
    before, after = (axis.before, axis.after) if padding else (0, 0)
    return ((positions >= -before) & (positions < axis.extent + after)).sum(axis=1)


def _starts(axis: Axis) -> Array:
    """Where each window's first tap stands."""
    return np.arange(axis.windows) * axis.stride - axis.before


@by_channels_first
def positions_of(taps: Array, g: PoolGeometry) -> Array:
    """The flat positions in each plane that the taps stand for: -1 for a window wholly in padding, -2 for no tap."""
    known = (taps >= 0) & (taps < math.prod(g.kernel_size))
    rest, flat, pitch = np.where(known, taps, 0).astype(np.int64), np.zeros(taps.shape, np.int64), 1
    for start, axis in reversed(list(zip(np.ix_(*map(_starts, g.axes)), g.axes, strict=True))):
        rest, number = np.divmod(rest, axis.taps)
        flat += (start + number * axis.dilation) * pitch
        pitch *= axis.extent
    return np.where(known, flat, np.where(taps == g.no_tap, -1, -2))


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "max_pool": max_pool,
    "max_pool_grad": max_pool_grad,
    "avg_pool": avg_pool,
    "avg_pool_grad": avg_pool_grad,
    "adaptive_avg_pool": adaptive_avg_pool,
    "adaptive_avg_pool_grad": adaptive_avg_pool_grad,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


@torch_layout
def _torch_max_pool(x: Any, g: PoolGeometry) -> Callable[[], Any]:
    pool, padding = torch_function(f"max_pool{g.rank}d"), symmetric_padding(g)
    return lambda: pool(x, g.kernel_size, g.stride, padding, g.dilation, return_indices=True)


@torch_layout
def _torch_max_pool_grad(dy: Any, taps: Any, g: PoolGeometry) -> Callable[[], Any]:
    """PyTorch takes positions, which its forward has left ready."""
    import torch
    from torch.ops import aten

    if g.rank == 1:
        raise NotImplementedError("it has no function of one axis for this")
    backward = getattr(aten, f"max_pool{g.rank}d_with_indices_backward")
    positions = torch.as_tensor(positions_of(taps, g), device=dy.device)
    indices = positions.contiguous(memory_format=torch_memory_format(dy))
    x = torch_empty(g.x_shape, dy)
    window = list(g.kernel_size), list(g.stride), symmetric_padding(g), list(g.dilation)
    return lambda: backward(dy, x, *window, False, indices)


@torch_layout
def _torch_avg_pool(x: Any, g: AvgPoolGeometry) -> Callable[[], Any]:
    pool, padding = torch_function(f"avg_pool{g.rank}d"), symmetric_padding(g)
    divisor = () if g.rank == 1 else (g.divisor_override,)
    if g.rank == 1 and g.divisor_override is not None:
        raise NotImplementedError("it has no divisor_override along one axis")
    return lambda: pool(x, g.kernel_size, g.stride, padding, False, g.count_include_pad, *divisor)


@torch_layout
def _torch_avg_pool_grad(dy: Any, g: AvgPoolGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    if g.rank == 1:
        raise NotImplementedError("it has no function of one axis for this")
    backward = getattr(aten, f"avg_pool{g.rank}d_backward")
    x = torch_empty(g.x_shape, dy)
    window = list(g.kernel_size), list(g.stride), symmetric_padding(g)
    return lambda: backward(dy, x, *window, False, g.count_include_pad, g.divisor_override)


@torch_layout
def _torch_adaptive(x: Any, g: AdaptivePoolGeometry) -> Callable[[], Any]:
    pool = torch_function(f"adaptive_avg_pool{g.rank}d")
    return lambda: pool(x, g.windows)


@torch_layout
def _torch_adaptive_grad(dy: Any, g: AdaptivePoolGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    if g.rank == 1:
        raise NotImplementedError("it has no function of one axis for this")
    backward = getattr(aten, f"_adaptive_avg_pool{g.rank}d_backward")
    x = torch_empty(g.x_shape, dy)
    return lambda: backward(dy, x)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "max_pool": _torch_max_pool,
    "max_pool_grad": _torch_max_pool_grad,
    "avg_pool": _torch_avg_pool,
    "avg_pool_grad": _torch_avg_pool_grad,
    "adaptive_avg_pool": _torch_adaptive,
    "adaptive_avg_pool_grad": _torch_adaptive_grad,
}
