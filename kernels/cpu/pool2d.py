"""Max and average pooling: Python loops run over the taps of a window, array operations over everything else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..checks import accumulation_dtype
from ..geometry import AvgDivisor, Pool2dGeometry


def _covered(start: int, stride: int, windows: int, extent: int) -> tuple[slice, slice]:
    """The windows whose tap at `start` + window*stride lies inside the input, and those input positions."""
    first = max(0, -(start // stride))
    last = min(windows, (extent - 1 - start) // stride + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(start + first * stride, start + (last - 1) * stride + 1, stride)


def _taps(g: Pool2dGeometry) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Every tap with the windows (rows, columns) where it lies inside the input, and its input positions."""
    for r in range(g.R):
        p, h = _covered(r * g.dilation[0] - g.padding[0][0], g.stride[0], g.P, g.H)
        for s in range(g.S):
            q, w = _covered(s * g.dilation[1] - g.padding[1][0], g.stride[1], g.Q, g.W)
            if p.stop > p.start and q.stop > q.start:
                yield r * g.S + s, (p, q), (h, w)


def max_pool2d(x: np.ndarray, geometry: Pool2dGeometry) -> tuple[np.ndarray, np.ndarray]:
    g = geometry
    y = np.full(g.y_shape, -np.inf, dtype=x.dtype)
    taps = np.full(g.y_shape, g.no_tap, dtype=g.tap_dtype)
    for n in range(g.N):
        for tap, (p, q), (h, w) in _taps(g):
            value, best, best_tap = x[n, :, h, w], y[n, :, p, q], taps[n, :, p, q]
            wins = (value > best) | np.isnan(value) | (best_tap == g.no_tap)
            np.copyto(best, value, where=wins)
            np.copyto(best_tap, tap, where=wins)
    return y, taps


def max_pool2d_grad(dy: np.ndarray, taps: np.ndarray, geometry: Pool2dGeometry) -> np.ndarray:
    g = geometry
    dx = np.empty(g.x_shape, dtype=dy.dtype)
    total = np.empty(g.x_shape[1:], dtype=accumulation_dtype(dy.dtype))
    for n in range(g.N):
        total[:] = 0
        for tap, (p, q), (h, w) in _taps(g):
            total[:, h, w] += np.where(taps[n, :, p, q] == tap, dy[n, :, p, q], 0)
        dx[n] = total
    return dx


def max_pool2d_indices(taps: np.ndarray, geometry: Pool2dGeometry) -> np.ndarray:
    g = geometry
    r, s = np.divmod(taps.astype(np.int64), g.S)
    row = np.arange(g.P)[:, None] * g.stride[0] - g.padding[0][0] + r * g.dilation[0]
    column = np.arange(g.Q) * g.stride[1] - g.padding[1][0] + s * g.dilation[1]
    return np.where(taps == g.no_tap, -1, row * g.W + column)


def avg_pool2d(x: np.ndarray, geometry: Pool2dGeometry, divisor: AvgDivisor) -> np.ndarray:
    g = geometry
    rows, columns = divisor.counts(g)
    y = np.empty(g.y_shape, dtype=x.dtype)
    total = np.empty(g.y_shape[1:], dtype=accumulation_dtype(x.dtype))
    scale = (rows[:, None] * columns).astype(total.dtype)
    for n in range(g.N):
        total[:] = 0
        for _, (p, q), (h, w) in _taps(g):
            total[:, p, q] += x[n, :, h, w]
        y[n] = total / scale
    return y


def avg_pool2d_grad(dy: np.ndarray, geometry: Pool2dGeometry, divisor: AvgDivisor) -> np.ndarray:
    g = geometry
    rows, columns = divisor.counts(g)
    dx = np.empty(g.x_shape, dtype=dy.dtype)
    total = np.empty(g.x_shape[1:], dtype=accumulation_dtype(dy.dtype))
    scale = (rows[:, None] * columns).astype(total.dtype)
    for n in range(g.N):
        total[:] = 0
        share = dy[n].astype(total.dtype) / scale
        for _, (p, q), (h, w) in _taps(g):
            total[:, h, w] += share[:, p, q]
        dx[n] = total
    return dx
