"""Max pooling in two passes, along H and then along W, with the winning tap kept beside the maximum; its gradient
scatters through the positions of the taps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..axis import Axis
from ..blocked.correlation import spans
from ..blocked.lines import WORKING_BYTES, Lines, plane_blocks
from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .geometry import PoolGeometry

FEW = 4096  # elements in windows are searched one by one in less time than passes take to begin
WINDOWS = 1 << 18  # of a plane that are scattered at a time


def max_pool(x: np.ndarray, geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    g = geometry
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)
    search, cost = (_by_argmax, 4) if by_argmax(g) else (_by_passes, 1)  # argmax takes longer: smaller blocks will do
    line_bytes = (g.W + g.S) * g.stride[0] * accumulation_dtype(x.dtype).itemsize

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        planes = slice(*images), slice(*channels)
        search(x[planes], g, rows, y[planes][:, :, slice(*rows)], taps[planes][:, :, slice(*rows)])

    threads.run(work, plane_blocks(g.N, g.C, g.P, cost * line_bytes), WORKING_BYTES, alone=True)
    return y, taps


def by_argmax(g: PoolGeometry) -> bool:
    """Whether windows are searched one by one: where they lie whole in x and are few, or each is a plane as it lies."""
    few = g.N * g.C * g.P * g.Q * g.R * g.S <= FEW
    return not g.reaches_outside and (few or (g.R, g.S) == (g.H, g.W))


def _by_argmax(x: np.ndarray, g: PoolGeometry, rows: Pair, y: np.ndarray, taps: np.ndarray) -> None:
    """y and taps (n, c, p, Q) of windows that lie in planes x (n, c, H, W)."""
    x = x[:, :, slice(*g.axes[0].positions_under(*rows))].astype(accumulation_dtype(x.dtype), copy=False)
    (sh, sw), (dh, dw), (sn, sc, row, column) = g.stride, g.dilation, x.strides
    strides = sn, sc, row * sh, column * sw, row * dh, column * dw
    windows = as_strided(x, (*y.shape, g.R, g.S), strides, writeable=False).reshape(-1, g.R * g.S)
    tap = windows.argmax(1)
    best = windows.take(np.arange(0, windows.size, g.R * g.S) + tap)
    if np.isnan(best.max(initial=-np.inf)):
        nan = np.isnan(best)  # the last NaN of a window is its tap
        tap[nan] = g.R * g.S - 1 - np.isnan(windows[nan, ::-1]).argmax(1)
    y[...], taps[...] = best.reshape(y.shape), tap.reshape(y.shape)


def _by_passes(x: np.ndarray, g: PoolGeometry, rows: Pair, y: np.ndarray, taps: np.ndarray) -> None:
    """y and taps (n, c, p, Q) of planes x (n, c, H, W)."""
    lines = Lines(g, (len(x), x.shape[1]), rows)
    best, tap = _of_columns(lines, *_of_rows(x, lines, g), g)
    y[...], taps[...] = best, tap
    _correct(x, y if y.dtype == best.dtype else best, y, taps, g, rows)


def _of_rows(x: np.ndarray, lines: Lines, g: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of the windows' columns, (n, c, p, W), and the first tap (r, 0) that has each; -inf outside x."""
    reached = lines.reached(x, -np.inf)
    best, *others = lines.kernel_rows(reached)
    highest, taps = np.empty(best.shape, best.dtype), np.zeros(best.shape, g.tap_dtype)
    for r, row in enumerate(others, 1):
        greater = np.greater(row, best).view(np.uint8)
        best = np.maximum(best, row, out=highest)
        np.maximum(taps, greater * g.tap_dtype.type(r * g.S), out=taps)
    return lines.of_rows(best, reached), lines.of_rows(taps, reached)


def _of_columns(
    lines: Lines, highest: np.ndarray, row_taps: np.ndarray, g: PoolGeometry
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of all windows, (n, c, p, Q), and the first tap that has each, from those of their columns."""
    columns = zip(lines.columns(lines.laid(highest, -np.inf)), lines.columns(lines.laid(row_taps, 0)), strict=True)
    (_, first), (_, first_tap) = next(columns)
    best, taps = first.copy(), first_tap.copy()
    for (s, column), (_, tap) in columns:
        tap = tap + g.tap_dtype.type(s)
        better = (column >= best) & (tap < taps)
        better |= column > best
        np.maximum(best, column, out=best)
        tap -= taps  # unsigned integers wrap around, and back when this is added
        tap *= better.view(np.uint8)
        taps += tap
    return lines.of_windows(best), lines.of_windows(taps)


def _correct(x: np.ndarray, best: np.ndarray, y: np.ndarray, taps: np.ndarray, g: PoolGeometry, rows: Pair) -> None:
    """What comparisons leave open: the taps of NaN and of ties with the padding's -inf, and the sign of zero."""
    if np.isnan(best.max(initial=-np.inf)):
        _put_last_nan(x, np.nonzero(np.isnan(best)), taps, g, rows[0])
    if g.reaches_outside and (lowest := np.equal(best, -np.inf)).any():
        np.copyto(taps, _first_taps(g)[slice(*rows)], where=lowest)
    if not best.all() and _has_negative_zero(x[:, :, slice(*g.axes[0].positions_under(*rows))]):
        n, c, p, q = np.nonzero(best == 0)
        h, w = np.divmod(_positions(taps, g, rows[0])[n, c, p, q], g.W)
        y[n, c, p, q] = x[n, c, h, w]


def _put_last_nan(x: np.ndarray, windows: tuple[np.ndarray, ...], taps: np.ndarray, g: PoolGeometry, p0: int) -> None:
    """NaN wins over everything, and the last NaN of a window is its tap; windows: indices into taps (n, c, p, Q)."""
    n, c, p, q = windows
    last = taps[windows]
    for tap in range(g.R * g.S):
        h, w = g.axes[0].position(p0 + p, tap // g.S), g.axes[1].position(q, tap % g.S)
        inside = (h >= 0) & (h < g.H) & (w >= 0) & (w < g.W)
        last[inside & np.isnan(x[n, c, h * inside, w * inside])] = tap
    taps[windows] = last


@lru_cache
def _first_taps(g: PoolGeometry) -> np.ndarray:
    """The first tap of each window that is inside the input, or no_tap where none is: (P, Q)."""
    rows, columns = np.logical_not(_outside(g.axes[0], 0, g.P)), np.logical_not(_outside(g.axes[1], 0, g.Q))
    first = rows.argmax(1)[:, None] * g.S + columns.argmax(1)
    return np.where(rows.any(1)[:, None] & columns.any(1), first, g.no_tap).astype(g.tap_dtype)


def _has_negative_zero(x: np.ndarray) -> bool:
    """Among floats' bits as signed integers, those of -0 are the least."""
    integer = np.dtype(f"i{x.itemsize}")
    return bool(x.view(integer).min(initial=0) == np.iinfo(integer).min)


def max_pool_grad(dy: np.ndarray, taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    """Every dy is put at the position its tap stands for, or, where windows overlap, added there in order."""
    g = geometry
    acc = accumulation_dtype(dy.dtype) if g.overlapping else dy.dtype
    dx = np.empty(g.x_shape, dy.dtype)
    rows = spans(g.P, WINDOWS // g.Q)

    def work(images: Pair, channels: Pair, _: Pair) -> None:
        planes = slice(*images), slice(*channels)
        target = dx[planes]
        total = target if dx.dtype == acc else np.empty(target.shape, acc)
        total[...] = 0
        flat = total.reshape(-1)  # a view: a block is some channels of one image or all of several
        for p0, p1 in rows:
            tap = _taps_inside(taps[planes][:, :, p0:p1], g, p0)
            where = _positions(tap, g, p0).reshape(-1, tap[0, 0].size)
            where += np.arange(0, flat.size, g.H * g.W)[:, None]
            part = dy[planes][:, :, p0:p1].reshape(where.shape)
            if tap.max(initial=0) == g.no_tap:
                given = tap.reshape(where.shape) != g.no_tap
                where, part = where[given], part[given]
            if g.overlapping:
                np.add.at(flat, where.reshape(-1), part.reshape(-1).astype(acc, copy=False))
            else:
                flat[where.reshape(-1)] = part.reshape(-1)
        if total is not target:
            target[...] = total

    threads.run(work, plane_blocks(g.N, g.C, 1, g.P * g.Q * 8), WORKING_BYTES, alone=True)
    return dx


def max_pool_indices(taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g = geometry
    indices = np.empty(g.y_shape, np.int64)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        block = slice(*images), slice(*channels), slice(*rows)
        indices[block] = _positions(taps[block], g, rows[0])
        np.copyto(indices[block], -1, where=taps[block] == g.no_tap)

    threads.run(work, plane_blocks(g.N, g.C, g.P, g.Q * 8), alone=True)
    return indices


def _positions(taps: np.ndarray, g: PoolGeometry, p0: int) -> np.ndarray:
    """Where in its plane each tap of windows (p0.., 0..) stands, h*W + w: intp (n, c, p, Q)."""
    dh, dw = g.dilation
    narrow = np.dtype(np.uint16 if g.R * dh * g.W + g.S * dw < 2**16 else np.int64)  # less to move; what wraps unwraps
    offsets = (taps // taps.dtype.type(g.S)).astype(narrow)
    offsets *= np.array(dh * g.W - g.S * dw).astype(narrow)
    offsets += taps if dw == 1 else taps.astype(narrow) * narrow.type(dw)
    positions = offsets.astype(np.intp).reshape(*taps.shape[:2], -1)
    positions += _starts(g, p0, p0 + taps.shape[2])
    return positions.reshape(taps.shape)


@lru_cache(16)
def _starts(g: PoolGeometry, p0: int, p1: int) -> np.ndarray:
    """Where tap 0 of windows (p0:p1, 0:Q) stands or would stand: (p*Q,)."""
    rows = g.axes[0].position(np.arange(p0, p1), 0) * g.W
    columns = g.axes[1].position(np.arange(g.Q), 0)
    return (rows[:, None] + columns).reshape(-1)


def _taps_inside(taps: np.ndarray, g: PoolGeometry, p0: int) -> np.ndarray:
    """Taps of windows (p0.., 0..) with no_tap for those outside the input, which max_pool2d never gives."""
    rows_outside = _outside(g.axes[0], p0, p0 + taps.shape[2])
    columns_outside = _outside(g.axes[1], 0, g.Q)
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
def _outside(axis: Axis, first: int, last: int) -> np.ndarray:
    """Which taps of windows first:last lie outside the input: (windows, taps)."""
    places = axis.position(np.arange(first, last)[:, None], np.arange(axis.taps))
    return (places < 0) | (places >= axis.extent)
