"""Pooling and its gradients, one pass over each plane (n, c); what is no float32 or float64 runs on the plain page.

Planes have three axes, (D, H, W), of which the first have extent 1 where an image has fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np

from ..axis import Axis
from ..jit.blocks import over_blocks
from ..jit.compiled import compiled, contiguous, pieces, suits
from ..jit.layout import three
from ..jit.reduce import line_sum
from . import cpu
from .cpu import adaptive_avg_pool, adaptive_avg_pool_grad, max_pool_indices
from .geometry import AvgPoolGeometry, PoolGeometry

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "max_pool",
    "max_pool_grad",
    "max_pool_indices",
]

WORTH = 1 << 16  # elements: fewer are not worth a second thread
PARTS = 16  # of a call's planes: what threads share


class Windows(NamedTuple):
    """The windows along three axes, as compiled loops take them: of each axis (stride, dilation, before) and, by tap,
    the range of windows of which it lies inside the input."""

    d: tuple[int, int, int]
    h: tuple[int, int, int]
    w: tuple[int, int, int]
    inside_d: np.ndarray
    inside_h: np.ndarray
    inside_w: np.ndarray


@lru_cache(1024)
def _windows(axes: tuple[Axis, ...]) -> Windows:
    d, h, w = ((axis.stride, axis.dilation, axis.before) for axis in three(axes))
    inside = (np.array([axis.windows_inside(tap) for tap in range(axis.taps)]) for axis in three(axes))
    return Windows(d, h, w, *inside)


@lru_cache(1024)
def _first_taps(g: PoolGeometry) -> np.ndarray:
    """Of every window the first tap inside the input, or the number that marks a window wholly in padding."""
    ranges = [np.array([axis.taps_inside(p) for p in range(axis.windows)]).T for axis in g.axes]
    first, empty = np.zeros(g.windows, np.int64), np.zeros(g.windows, bool)
    for number, (axis, (low, high)) in enumerate(zip(g.axes, ranges, strict=True)):
        shape = [-1 if n == number else 1 for n in range(len(g.axes))]
        first = first * axis.taps + low.reshape(shape)
        empty |= (low == high).reshape(shape)
    first[empty] = g.no_tap
    return first.astype(g.tap_dtype).reshape(_three(g.windows))


def max_pool(x: np.ndarray, geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    g = geometry
    if not suits(x):
        return cpu.max_pool(x, g)
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)
    if _is_global(g):
        _over_planes(_max_global, (x,), (y, taps))
    else:
        _over_planes(_max_pool, (x,), (y, taps), _first_taps(g), _windows(g.axes))
    return y, taps


def max_pool_grad(dy: np.ndarray, taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g = geometry
    if not suits(dy):
        return cpu.max_pool_grad(dy, taps, g)
    dx = np.empty(g.x_shape, dy.dtype)
    _over_planes(_max_pool_grad, (dy, taps), (dx,), _offsets(g), _windows(g.axes))
    return dx


def avg_pool(x: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    if not suits(x):
        return cpu.avg_pool(x, g)
    y = np.empty(g.y_shape, x.dtype)
    _over_planes(_avg_pool, (x,), (y,), _divisors(g, x.dtype), _windows(g.axes))
    return y


def avg_pool_grad(dy: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    if not suits(dy):
        return cpu.avg_pool_grad(dy, g)
    dx = np.empty(g.x_shape, dy.dtype)
    _over_planes(_avg_pool_grad, (dy,), (dx,), _divisors(g, dy.dtype), _windows(g.axes))
    return dx


def _three(extents: tuple[int, ...]) -> tuple[int, ...]:
    return *(1 for _ in range(3 - len(extents))), *extents


def _planes(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1, *_three(a.shape[2:]))


def _over_planes(
    loop: Callable[..., None], inputs: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...], *constants: Any
) -> None:
    """loop(*inputs, *outputs, *constants, first, end) for parts of the planes, on several threads where there are
    many elements."""
    strided = next((a for a in inputs if not a.flags.c_contiguous), inputs[0])
    for images in pieces(strided):
        given = contiguous(*(a[images] for a in inputs))
        planes = [_planes(a) for a in (*given, *(a[images] for a in outputs))]
        _share(loop, planes, constants)


def _share(loop: Callable[..., None], planes: list[np.ndarray], constants: tuple[Any, ...]) -> None:
    count = len(planes[0])
    part = -(-count // PARTS)

    def work(low: int, high: int) -> None:
        loop(*planes, *constants, low * part, min(count, high * part))

    over_blocks(work, -(-count // part), max(a.size for a in planes) > WORTH, planes[0].dtype)


def _is_global(g: PoolGeometry) -> bool:
    """Whether one window is the whole plane."""
    return all((axis.taps, axis.windows, axis.before, axis.dilation) == (axis.extent, 1, 0, 1) for axis in g.axes)


@lru_cache(1024)
def _offsets(g: PoolGeometry) -> np.ndarray:
    """Of every tap (d, h, w), counted from the first."""
    steps = np.array(_three(g.dilation)).reshape(3, 1)
    return np.ascontiguousarray((np.indices(_three(g.kernel_size)).reshape(3, -1) * steps).T)


@lru_cache(1024)
def _divisors(g: AvgPoolGeometry, dtype: np.dtype) -> np.ndarray:
    """Of every window: (Z, P, Q)."""
    return reduce(np.multiply.outer, (counts.astype(dtype) for counts in g.counts())).reshape(_three(g.windows))


@compiled
def _max_global(x, y, taps, first, end):
    for u in range(first, end):
        plane = x[u].reshape(-1)
        highest, tap = plane[0], 0
        for i in range(1, plane.size):
            if plane[i] > highest or plane[i] != plane[i]:
                highest, tap = plane[i], i
        y[u, 0, 0, 0], taps[u, 0, 0, 0] = highest, tap


@compiled
def _max_pool(x, y, taps, first_taps, windows, first, end):
    (step_d, apart_d, before_d), (step_h, apart_h, before_h), (step_w, apart_w, before_w) = windows[:3]
    inside_d, inside_h, inside_w = windows[3:]
    for u in range(first, end):
        for z in range(y.shape[1]):
            for p in range(y.shape[2]):
                highest, winner = y[u, z, p], taps[u, z, p]
                highest[:] = -np.inf
                winner[:] = first_taps[z, p]
                for t in range(len(inside_d)):
                    if not inside_d[t, 0] <= z < inside_d[t, 1]:
                        continue
                    for r in range(len(inside_h)):
                        if not inside_h[r, 0] <= p < inside_h[r, 1]:
                            continue
                        line = x[u, z * step_d + t * apart_d - before_d, p * step_h + r * apart_h - before_h]
                        for s in range(len(inside_w)):
                            low, high = inside_w[s]
                            tap = taps.dtype.type((t * len(inside_h) + r) * len(inside_w) + s)
                            start = low * step_w + s * apart_w - before_w
                            _take_higher(highest[low:high], winner[low:high], tap, line[start:], step_w)


@compiled
def _take_higher(highest, winner, tap, line, step):
    """Where line[q * step] is higher, or NaN, it becomes the highest and its tap the winner."""
    if step == 1:  # written out for the steps of most networks: these become vectors
        for q in range(highest.size):
            wins = (line[q] > highest[q]) | (line[q] != line[q])
            highest[q] = line[q] if wins else highest[q]
            winner[q] = tap if wins else winner[q]
    elif step == 2:
        for q in range(highest.size):
            value = line[2 * q]
            wins = (value > highest[q]) | (value != value)
            highest[q] = value if wins else highest[q]
            winner[q] = tap if wins else winner[q]
    else:
        for q in range(highest.size):
            if line[q * step] > highest[q] or line[q * step] != line[q * step]:
                highest[q] = line[q * step]
                winner[q] = tap


@compiled
def _max_pool_grad(dy, taps, dx, offsets, windows, first, end):
    (step_d, _, before_d), (step_h, _, before_h), (step_w, _, before_w) = windows[:3]
    every_d, every_h = _windows_all_inside(windows[3]), _windows_all_inside(windows[4])
    every_w = _windows_all_inside(windows[5])
    _, D, H, W = dx.shape
    flat_offsets = (offsets[:, 0] * H + offsets[:, 1]) * W + offsets[:, 2]
    for u in range(first, end):
        dx[u] = 0
        plane = dx[u].reshape(-1)
        for z in range(dy.shape[1]):
            for p in range(dy.shape[2]):
                d, h = z * step_d - before_d, p * step_h - before_h
                line, winner = dy[u, z, p], taps[u, z, p]
                low, high = 0, 0
                if every_d[0] <= z < every_d[1] and every_h[0] <= p < every_h[1]:
                    low, high = every_w
                    first_at = (d * H + h) * W - before_w
                    for q in range(low, high):
                        if winner[q] < len(offsets):  # else the window is wholly in padding
                            plane[first_at + q * step_w + flat_offsets[winner[q]]] += line[q]
                for q in range(line.size - max(0, high - low)):
                    if q >= low:
                        q += max(0, high - low)
                    if winner[q] < len(offsets):
                        at = offsets[winner[q]]
                        a, b, c = d + at[0], h + at[1], q * step_w - before_w + at[2]
                        if 0 <= a < D and 0 <= b < H and 0 <= c < W:
                            plane[(a * H + b) * W + c] += line[q]


@compiled
def _windows_all_inside(inside):
    """The windows of which every tap lies inside the input: a range."""
    low, high = inside[0]
    for tap in range(1, len(inside)):
        low, high = max(low, inside[tap, 0]), min(high, inside[tap, 1])
    return low, high


@compiled
def _avg_pool(x, y, divisors, windows, first, end):
    (step_d, _, before_d), (step_h, _, before_h), (step_w, _, before_w) = windows[:3]
    inside_d, inside_h, inside_w = windows[3:]
    by_window = len(inside_w) > 2 * y.shape[3]  # few windows of many taps
    for u in range(first, end):
        for z in range(y.shape[1]):
            for p in range(y.shape[2]):
                total = y[u, z, p]
                total[:] = 0
                for t in range(len(inside_d)):
                    if not inside_d[t, 0] <= z < inside_d[t, 1]:
                        continue
                    for r in range(len(inside_h)):
                        if not inside_h[r, 0] <= p < inside_h[r, 1]:
                            continue
                        line = x[u, z * step_d + t - before_d, p * step_h + r - before_h]
                        if by_window:
                            for q in range(total.size):
                                start = q * step_w - before_w
                                total[q] += line_sum(line[max(0, start) : max(0, start + len(inside_w))])
                        else:
                            for s in range(len(inside_w)):
                                low, high = inside_w[s]
                                _add(total[low:high], line[low * step_w + s - before_w :], step_w)
                total /= divisors[z, p]


@compiled
def _add(total, line, step):
    """total[q] += line[q * step]."""
    if step == 1:  # written out for the steps of most networks: these become vectors
        for q in range(total.size):
            total[q] += line[q]
    elif step == 2:
        for q in range(total.size):
            total[q] += line[2 * q]
    else:
        for q in range(total.size):
            total[q] += line[q * step]


@compiled
def _avg_pool_grad(dy, dx, divisors, windows, first, end):
    (step_d, _, before_d), (step_h, _, before_h), (step_w, _, before_w) = windows[:3]
    inside_d, inside_h, inside_w = windows[3:]
    by_window = len(inside_w) > 2 * dy.shape[3]  # few windows of many taps
    line = np.empty(dy.shape[3], dy.dtype)
    for u in range(first, end):
        dx[u] = 0
        for z in range(dy.shape[1]):
            for p in range(dy.shape[2]):
                for q in range(line.size):
                    line[q] = dy[u, z, p, q] / divisors[z, p, q]
                for t in range(len(inside_d)):
                    if not inside_d[t, 0] <= z < inside_d[t, 1]:
                        continue
                    for r in range(len(inside_h)):
                        if not inside_h[r, 0] <= p < inside_h[r, 1]:
                            continue
                        out = dx[u, z * step_d + t - before_d, p * step_h + r - before_h]
                        if by_window:
                            for q in range(line.size):
                                start = q * step_w - before_w
                                for w in range(max(0, start), min(out.size, start + len(inside_w))):
                                    out[w] += line[q]
                            continue
                        for s in range(len(inside_w)):
                            low, high = inside_w[s]
                            _spread(line[low:high], out[low * step_w + s - before_w :], step_w)


@compiled
def _spread(line, out, step):
    """out[q * step] += line[q]."""
    if step == 1:  # as in _add
        for q in range(line.size):
            out[q] += line[q]
    else:
        for q in range(line.size):
            out[q * step] += line[q]
