"""Max pooling in two passes, along H and then along W, with the winning tap kept beside the maximum."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..checks import Pair
from ..geometry import Pool2dGeometry
from . import threads
from .correlation import spans
from .im2col import sum_dtype
from .lines import BLOCK_BYTES, Lines, input_rows, plane_blocks


def max_pool2d(x: np.ndarray, geometry: Pool2dGeometry) -> tuple[np.ndarray, np.ndarray]:
    g = geometry
    acc = sum_dtype(x)
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        block = slice(*images), slice(*channels), slice(*rows)
        h0, h1 = input_rows(g, *rows)
        part = x[block[0], block[1], h0:h1].astype(acc, copy=False)
        lines = Lines(g, (len(part), part.shape[1]), rows)
        highest, best = threads.scratch(acc, (lines.size,), (lines.run,))
        tap = _maximum(part, lines, h0, highest, best)
        y[block], taps[block] = lines.of_windows(best), lines.of_windows(tap)
        if np.isnan(best.max(initial=-np.inf)):
            _put_nan(part, lines, h0, taps[block])
        if not best.all() and np.any((part == 0) & np.signbit(part)):
            _put_zeros(x[block[:2]], y[block], taps[block], g, rows[0])

    threads.run(work, plane_blocks(g.N, g.C, g.P, (g.W + g.S) * acc.itemsize))
    return y, taps


def _maximum(x: np.ndarray, lines: Lines, h0: int, highest: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Maxima of all windows into `best` (run,), by way of those of their columns, `highest`; returns their taps.

    The tap is the least among those that equal the maximum, as the first one wins; what lies outside the input never
    counts. A window with a NaN gets no tap here.
    """
    g, no_tap = lines.g, lines.g.tap_dtype.type(lines.g.no_tap)
    highest[...] = -np.inf
    maximum = lines.inside(highest)
    for _, where, row in lines.rows(x, h0):
        np.maximum(maximum[:, :, where], row, out=maximum[:, :, where])
    column_taps = np.full(lines.size, no_tap)
    inside = lines.inside(column_taps)
    for r, where, row in lines.rows(x, h0):
        tap = np.not_equal(row, maximum[:, :, where]).view(np.uint8) * no_tap
        tap |= g.tap_dtype.type(r * g.S)
        np.minimum(inside[:, :, where], tap, out=inside[:, :, where])

    best[...] = -np.inf
    phases, tap_phases = (np.ascontiguousarray(lines.phases(a)) for a in (highest, column_taps))
    for _, column in lines.columns(phases):
        np.maximum(best, column, out=best)
    taps = np.full(lines.run, no_tap)
    for (s, column), (_, column_tap) in zip(lines.columns(phases), lines.columns(tap_phases), strict=True):
        tap = np.not_equal(column, best).view(np.uint8) * no_tap
        tap |= np.maximum(column_tap + g.tap_dtype.type(s), column_tap)  # no_tap + s wraps around
        np.minimum(taps, tap, out=taps)
    return taps


def _put_nan(x: np.ndarray, lines: Lines, h0: int, taps: np.ndarray) -> None:
    """NaN wins over everything, and the last NaN of a window is its tap; taps: (n, c, p, Q)."""
    g = lines.g
    spread = np.zeros(lines.size, bool)
    for r, where, row in lines.rows(x, h0):
        spread[...] = False
        lines.inside(spread)[:, :, where] = np.isnan(row)
        for s, column in lines.columns(lines.phases(spread)):
            np.copyto(taps, g.tap_dtype.type(r * g.S + s), where=lines.of_windows(column))


def _put_zeros(x: np.ndarray, y: np.ndarray, taps: np.ndarray, g: Pool2dGeometry, p0: int) -> None:
    """A maximum of zero has its tap's sign, which the maximum of 0 and -0 leaves open."""
    zeros = np.nonzero(y == 0)
    rows, columns = np.divmod(_positions(taps, g, p0).reshape(y.shape)[zeros], g.W)
    y[zeros] = x[zeros[0], zeros[1], rows, columns]


def max_pool2d_grad(dy: np.ndarray, taps: np.ndarray, geometry: Pool2dGeometry) -> np.ndarray:
    """Every dy is added at the position its tap stands for, in order; a unit of work is a few whole planes."""
    g = geometry
    acc = sum_dtype(dy)
    dx = np.zeros(g.x_shape, dy.dtype)
    rows = spans(g.P, BLOCK_BYTES // (g.Q * 8))

    def work(images: Pair, channels: Pair, _: Pair) -> None:
        (n0, n1), (c0, c1) = images, channels
        total, start = (dx, (n0, c0)) if dx.dtype == acc else (np.zeros((n1 - n0, c1 - c0, g.H, g.W), acc), (0, 0))
        planes = (np.arange(n1 - n0)[:, None] + start[0]) * total.shape[1] + np.arange(c1 - c0) + start[1]
        for p0, p1 in rows:
            tap = _taps_inside(taps[n0:n1, c0:c1, p0:p1], g, p0)
            part = dy[n0:n1, c0:c1, p0:p1].astype(acc, copy=False)
            where = _positions(tap, g, p0, planes * (g.H * g.W)).astype(np.intp, copy=False)
            if tap.max(initial=0) == g.no_tap:
                given = tap.reshape(where.shape) != g.no_tap
                where, part = where[given], part.reshape(where.shape)[given]
            np.add.at(total.reshape(-1), where.reshape(-1), part.reshape(-1))
        if total is not dx:
            dx[n0:n1, c0:c1] = total

    threads.run(work, plane_blocks(g.N, g.C, 1, g.P * g.Q * 2))
    return dx


def max_pool2d_indices(taps: np.ndarray, geometry: Pool2dGeometry) -> np.ndarray:
    g = geometry
    indices = np.empty(g.y_shape, np.int64)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        block = slice(*images), slice(*channels), slice(*rows)
        indices[block] = _positions(taps[block], g, rows[0]).reshape(taps[block].shape)
        np.copyto(indices[block], -1, where=taps[block] == g.no_tap)

    threads.run(work, plane_blocks(g.N, g.C, g.P, g.Q * 8))
    return indices


def _positions(taps: np.ndarray, g: Pool2dGeometry, p0: int, planes: np.ndarray | None = None) -> np.ndarray:
    """Where each tap of windows (p0.., 0..) stands, (n, c, p*Q): h*W + w, plus where its plane begins (n, c)."""
    integer: Any = np.int32 if g.N * g.C * g.H * g.W < 2**30 else np.int64  # narrow integers are faster
    (sh, sw), (dh, dw), ((top, _), (left, _)) = g.stride, g.dilation, g.padding
    window_rows = (np.arange(p0, p0 + taps.shape[2], dtype=integer) * sh - top) * g.W
    windows = (window_rows[:, None] + np.arange(g.Q, dtype=integer) * sw - left).reshape(-1)
    taps = taps.reshape(*taps.shape[:2], -1)
    positions = (taps // taps.dtype.type(g.S)).astype(integer)
    positions *= integer(dh * g.W - g.S * dw)
    positions += windows
    positions += taps if dw == 1 else taps.astype(integer) * integer(dw)
    if planes is not None:
        positions += planes[..., None].astype(integer)
    return positions


def _taps_inside(taps: np.ndarray, g: Pool2dGeometry, p0: int) -> np.ndarray:
    """Taps of windows (p0.., 0..) with no_tap for those outside the input, which max_pool2d never gives."""
    rows_outside = _outside(g, 0, p0, p0 + taps.shape[2])
    columns_outside = _outside(g, 1, 0, g.Q)
    if not rows_outside.any() and not columns_outside.any() and taps.max(initial=0) < g.R * g.S:
        return taps
    taps = taps.copy()
    if taps.max(initial=0) >= g.R * g.S:
        taps[taps >= g.R * g.S] = g.no_tap
    for axis_taps, outside, kernel_tap in (
        (taps.transpose(2, 0, 1, 3), rows_outside, np.arange(g.R * g.S) // g.S),
        (taps.transpose(3, 0, 1, 2), columns_outside, np.arange(g.R * g.S) % g.S),
    ):
        for window in np.flatnonzero(outside.any(axis=1)):
            for tap in np.flatnonzero(outside[window][kernel_tap]):
                np.copyto(axis_taps[window], g.no_tap, where=axis_taps[window] == tap)
    return taps


@lru_cache
def _outside(g: Pool2dGeometry, axis: int, first: int, last: int) -> np.ndarray:
    """Which kernel rows (axis 0) or columns (axis 1) of windows first:last lie outside the input: (windows, kernel)."""
    kernel, extent = ((g.R, g.H), (g.S, g.W))[axis]
    starts = np.arange(first, last) * g.stride[axis] - g.padding[axis][0]
    places = starts[:, None] + np.arange(kernel) * g.dilation[axis]
    return (places < 0) | (places >= extent)
