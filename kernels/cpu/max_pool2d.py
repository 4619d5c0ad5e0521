"""Max pooling in two passes, along W and then along H, with the winning tap kept beside the maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Pair
from ..geometry import Pool2dGeometry
from . import threads
from .correlation import spans
from .im2col import sum_dtype
from .planes import BLOCK_BYTES, Planes, copy_padded, plane_blocks


def max_pool2d(x: np.ndarray, geometry: Pool2dGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Blocks that hold a NaN are computed again with the rule for NaN, which needs every tap in turn."""
    g = geometry
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)
    acc = sum_dtype(x)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (p0, p1) = images, channels, rows
        extents = Planes(g, p1 - p0)
        shape = n1 - n0, c1 - c0, *extents.shape
        planes, columns, best = threads.scratch(acc, shape, (*shape[:3], extents.run), (*shape[:2], extents.length))
        copy_padded(x[n0:n1, c0:c1], planes, _start(g, p0), -np.inf)
        tap = _maximum(planes, extents, _first_taps(g, p0, p1), columns, best)
        if np.isnan(best.max(initial=-np.inf)):
            tap = _maximum_with_nan(planes, extents, _first_taps(g, p0, p1), best)
        for target, values in ((y, best), (taps, tap)):
            target[n0:n1, c0:c1, p0:p1] = values.reshape(*shape[:2], p1 - p0, extents.width)[..., : g.Q]

    threads.run(work, plane_blocks(g.N, g.C, g.P, (g.Q + g.S) * max(g.stride) * acc.itemsize))
    _mark_empty(taps, g)
    return y, taps


def _start(g: Pool2dGeometry, p0: int) -> Pair:
    """Input row and column of window p0's first tap."""
    return p0 * g.stride[0] - g.padding[0][0], -g.padding[1][0]


def _valid(axis: int, windows: np.ndarray, g: Pool2dGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Per window along an axis, the first tap inside the input, and whether there is one."""
    extent, kernel = ((g.H, g.R), (g.W, g.S))[axis]
    start = windows * g.stride[axis] - g.padding[axis][0]
    first = np.maximum(0, -(start // g.dilation[axis]))
    return first, (first < kernel) & (start + first * g.dilation[axis] < extent)


def _first_taps(g: Pool2dGeometry, p0: int, p1: int) -> tuple[np.ndarray, np.ndarray]:
    """First kernel row inside the input per window row p0:p1, and first kernel column per window column."""
    (rows, some_row), (columns, some_column) = _valid(0, np.arange(p0, p1), g), _valid(1, np.arange(g.Q), g)
    return np.where(some_row, rows, 0).astype(g.tap_dtype), np.where(some_column, columns, 0).astype(g.tap_dtype)


def _maximum(
    planes: np.ndarray, extents: Planes, first: tuple[np.ndarray, np.ndarray], columns: np.ndarray, best: np.ndarray
) -> np.ndarray:
    """Maxima of all windows into `best` (..., length); returns their taps. Without NaN: the first maximum wins.

    A tap that wins is larger than any before it, so the winner is the maximum of (tap where it won, else 0), which
    small integers do fast. A window of -inf alone never has a winner and keeps its first tap inside the input.
    """
    g = extents.g
    first_rows, first_columns = first
    column_taps = np.zeros(columns.shape, g.tap_dtype)
    column_taps.reshape(*columns.shape[:-1], -1, extents.width)[..., : g.Q] = first_columns
    np.copyto(columns, extents.column_run(planes, 0))
    won, winner = np.empty(columns.shape, bool), np.empty(columns.shape, g.tap_dtype)
    for s in range(1, g.S):
        _challenge(extents.column_run(planes, s), g.tap_dtype.type(s), columns, column_taps, won, winner)

    np.copyto(best, extents.row_run(columns, 0))
    taps = extents.row_run(column_taps, 0).copy()
    late = np.flatnonzero(first_rows)
    lines = taps.reshape(*taps.shape[:-1], -1, extents.width)
    lines[..., late, :] += first_rows[late, None] * g.tap_dtype.type(g.S)
    won, winner = won[..., 0, : extents.length], winner[..., 0, : extents.length]
    challenger = np.empty(taps.shape, g.tap_dtype)
    for r in range(1, g.R):
        np.add(extents.row_run(column_taps, r), g.tap_dtype.type(r * g.S), out=challenger)
        _challenge(extents.row_run(columns, r), challenger, best, taps, won, winner)
    return taps


def _challenge(
    value: np.ndarray, tap: Any, best: np.ndarray, best_tap: np.ndarray, won: np.ndarray, winner: np.ndarray
) -> None:
    """Where `value` is greater than `best`, it and its tap (one, or an array) take over. won, winner: scratch."""
    np.greater(value, best, out=won)
    np.maximum(value, best, out=best)
    np.multiply(won.view(np.uint8), tap, out=winner)
    np.maximum(winner, best_tap, out=best_tap)


def _maximum_with_nan(
    planes: np.ndarray, extents: Planes, first: tuple[np.ndarray, np.ndarray], best: np.ndarray
) -> np.ndarray:
    """As `_maximum`; NaN wins over everything, and the last one of a window is its tap."""
    g = extents.g
    taps = np.zeros(best.shape, g.tap_dtype)
    lines = taps.reshape(*best.shape[:-1], -1, extents.width)[..., : g.Q]
    lines[...] = first[0][:, None] * g.tap_dtype.type(g.S) + first[1]
    best[...] = -np.inf
    for r, s, value in sorted(extents.taps(planes), key=lambda tap: tap[:2]):
        wins = (value > best) | np.isnan(value)
        np.copyto(best, value, where=wins)
        np.copyto(taps, g.tap_dtype.type(r * g.S + s), where=wins)
    return taps


def _mark_empty(taps: np.ndarray, g: Pool2dGeometry) -> None:
    """Windows wholly in padding have no tap."""
    taps[:, :, ~_valid(0, np.arange(g.P), g)[1]] = g.no_tap
    taps[..., ~_valid(1, np.arange(g.Q), g)[1]] = g.no_tap


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
            tap = taps[n0:n1, c0:c1, p0:p1]
            part = dy[n0:n1, c0:c1, p0:p1].astype(acc, copy=False)
            where = _positions(tap, g, p0) + (planes * (g.H * g.W))[..., None, None]
            if _some_empty(g):
                where, part = where[tap != g.no_tap], part[tap != g.no_tap]
            np.add.at(total.reshape(-1), where.reshape(-1), part.reshape(-1))
        if total is not dx:
            dx[n0:n1, c0:c1] = total

    blocks = plane_blocks(g.N, g.C, 1, g.P * g.Q * 8)
    threads.run(work, blocks)
    return dx


def max_pool2d_indices(taps: np.ndarray, geometry: Pool2dGeometry) -> np.ndarray:
    g = geometry
    indices = np.empty(g.y_shape, np.int64)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        block = slice(*images), slice(*channels), slice(*rows)
        indices[block] = _positions(taps[block], g, rows[0])
        if _some_empty(g):
            np.copyto(indices[block], -1, where=taps[block] == g.no_tap)

    threads.run(work, plane_blocks(g.N, g.C, g.P, g.Q * 8))
    return indices


def _positions(taps: np.ndarray, g: Pool2dGeometry, p0: int) -> np.ndarray:
    """Where in its plane of x each tap of windows (p0.., 0..) stands: h*W + w."""
    integer = np.int32 if g.H * g.W < 2**30 else np.int64  # narrow integers are faster
    kernel_rows = (taps // taps.dtype.type(g.S)).astype(integer)
    (sh, sw), (dh, dw), ((top, _), (left, _)) = g.stride, g.dilation, g.padding
    window_rows = (np.arange(p0, p0 + taps.shape[2], dtype=integer) * sh - top) * g.W
    windows = window_rows[:, None] + np.arange(g.Q, dtype=integer) * sw - left
    kernel_rows *= dh * g.W - g.S * dw
    kernel_rows += windows
    kernel_rows += taps if dw == 1 else taps.astype(integer) * dw
    return kernel_rows


def _some_empty(g: Pool2dGeometry) -> bool:
    """Whether some window lies wholly in padding."""
    return not (_valid(0, np.arange(g.P), g)[1].all() and _valid(1, np.arange(g.Q), g)[1].all())
