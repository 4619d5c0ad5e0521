"""Pooling and its gradients in plain NumPy: tap by tap, over all windows at once. Other paths are judged by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from ..cpu import threads
from ..cpu.pieces import PIECE, PIECES, cut, inside, meetings, whole
from ..dtypes import accumulation_dtype
from ..layout import by_channels_first
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

LEAST = 1 << 12  # elements that are worth a piece of work of their own


@by_channels_first
def max_pool(x: np.ndarray, geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)

    def work(*box: slice) -> None:
        n, c, *windows = box
        highest = np.full(y[box].shape, -np.inf, acc)
        winner = np.full(highest.shape, g.no_tap, g.tap_dtype)
        for tap, some, positions in meetings(g.axes, tuple(windows), whole(*g.extents)):
            where = inside(some, tuple(windows))
            value = x[(n, c, *positions)].astype(acc)
            wins = (value > highest[where]) | np.isnan(value) | (winner[where] == g.no_tap)
            np.copyto(highest[where], value, where=wins)
            np.copyto(winner[where], np.ravel_multi_index(tap, g.kernel_size), where=wins, casting="unsafe")
        y[box], taps[box] = highest, winner

    _run(work, y)
    return y, taps


@by_channels_first
def max_pool_grad(dy: np.ndarray, taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g = geometry
    dx = np.empty(g.x_shape, dy.dtype)

    def work(*box: slice) -> None:
        n, c, *positions = box
        total = np.zeros(dx[box].shape, accumulation_dtype(dy.dtype))
        for tap, windows, some in meetings(g.axes, whole(*g.windows), tuple(positions)):
            part, p = total[inside(some, tuple(positions))], (n, c, *windows)
            np.add(part, dy[p], out=part, where=taps[p] == np.ravel_multi_index(tap, g.kernel_size))
        dx[box] = total

    _run(work, dx)
    return dx


@by_channels_first
def max_pool_indices(taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g = geometry
    indices = np.empty(g.y_shape, np.int64)

    def work(*box: slice) -> None:
        tap, index, step = taps[box].astype(np.int64), np.zeros(taps[box].shape, np.int64), 1
        for axis, windows in zip(reversed(g.axes), reversed(np.ogrid[box[2:]]), strict=True):
            tap, own = np.divmod(tap, axis.taps)
            index += step * axis.position(windows, own)
            step *= axis.extent
        indices[box] = np.where(taps[box] == g.no_tap, -1, index)

    _run(work, indices)
    return indices


@by_channels_first
def avg_pool(x: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y = np.empty(g.y_shape, x.dtype)
    divisors = _divisors(g, acc)

    def work(*box: slice) -> None:
        n, c, *windows = box
        total = np.zeros(y[box].shape, acc)
        for _, some, positions in meetings(g.axes, tuple(windows), whole(*g.extents)):
            total[inside(some, tuple(windows))] += x[(n, c, *positions)]
        y[box] = total / divisors[tuple(windows)]

    _run(work, y)
    return y


@by_channels_first
def avg_pool_grad(dy: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g, acc = geometry, accumulation_dtype(dy.dtype)
    dx = np.empty(g.x_shape, dy.dtype)
    divisors = _divisors(g, acc)

    def work(*box: slice) -> None:
        n, c, *positions = box
        total = np.zeros(dx[box].shape, acc)
        for _, windows, some in meetings(g.axes, whole(*g.windows), tuple(positions)):
            total[inside(some, tuple(positions))] += dy[(n, c, *windows)] / divisors[windows]
        dx[box] = total

    _run(work, dx)
    return dx


def _divisors(g: AvgPoolGeometry, acc: np.dtype) -> np.ndarray:
    return reduce(np.multiply.outer, (each.astype(acc) for each in g.counts()))


@by_channels_first
def adaptive_avg_pool(x: np.ndarray, geometry: AdaptivePoolGeometry) -> np.ndarray:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y = np.empty(g.y_shape, x.dtype)
    covered, sizes = g.covered(), _sizes(g, acc)

    def work(n: slice, c: slice) -> None:
        total = x[n, c].astype(acc)
        for axis, parts in enumerate(covered, start=2):
            total = _sums(total, parts, axis)
        y[n, c] = total / sizes

    _run_planes(work, g)
    return y


@by_channels_first
def adaptive_avg_pool_grad(dy: np.ndarray, geometry: AdaptivePoolGeometry) -> np.ndarray:
    g, acc = geometry, accumulation_dtype(dy.dtype)
    dx = np.empty(g.x_shape, dy.dtype)
    covering, sizes = g.covering(), _sizes(g, acc)

    def work(n: slice, c: slice) -> None:
        total = dy[n, c] / sizes
        for axis, parts in enumerate(covering, start=2):
            total = _sums(total, parts, axis)
        dx[n, c] = total

    _run_planes(work, g)
    return dx


def _sums(a: np.ndarray, parts: list[slice], axis: int) -> np.ndarray:
    """Along an axis the sum of each of these parts."""
    along = np.moveaxis(a, axis, 0)
    return np.stack([along[part].sum(axis=0) for part in parts], axis)


def _sizes(g: AdaptivePoolGeometry, acc: np.dtype) -> np.ndarray:
    """Positions under each window: (P, Q)."""
    lengths = ([part.stop - part.start for part in covered] for covered in g.covered())
    return reduce(np.multiply.outer, (np.array(each, acc) for each in lengths))


def _run_planes(work: Callable[..., None], g: AdaptivePoolGeometry) -> None:
    """Call work for images and channels, as many planes at a time as fit a piece of work."""
    most = math.prod(map(max, zip(g.extents, g.windows, strict=True)))
    threads.run(work, list(cut(whole(g.N, g.C), max(1, PIECE // most))), 6 * PIECE * 8, alone=True)


def _run(work: Callable[..., None], result: np.ndarray) -> None:
    """Call work for boxes of indices that cover the result."""
    most = min(PIECE, max(LEAST, result.size // PIECES))
    threads.run(work, list(cut(whole(*result.shape), most)), 6 * PIECE * 8, alone=True)
