"""Average pooling and its gradient: sums along H and along W, and one division."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ..blocked.lines import WORKING_BYTES, Lines, plane_blocks
from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .geometry import AvgPoolGeometry, PoolGeometry


def avg_pool(x: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    acc = accumulation_dtype(x.dtype)
    y = np.empty(g.y_shape, x.dtype)
    divisors = _divisors(g, acc)

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        block = slice(*images), slice(*channels), slice(*rows)
        if g.P == g.Q == 1:
            y[block] = _only_window_sum(x[block[:2]], g, acc) / divisors
            return
        lines = Lines(g, (images[1] - images[0], channels[1] - channels[0]), rows)
        reached = lines.reached(x[block[:2]], 0)
        column_sums = lines.of_rows(_sum(lines.kernel_rows(reached)), reached)
        sums = _sum(column for _, column in lines.columns(lines.laid(column_sums, 0)))
        y[block] = lines.of_windows(sums) / divisors[slice(*rows)]

    threads.run(work, plane_blocks(g.N, g.C, g.P, (g.W + g.S) * g.stride[0] * acc.itemsize), WORKING_BYTES, alone=True)
    return y


def _sum(terms: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays, one after the other, in an array of its own unless it is the only one."""
    first, *others = terms
    if not others:
        return first
    total = first + others[0]
    for term in others[1:]:
        total += term
    return total


def avg_pool_grad(dy: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    acc = accumulation_dtype(dy.dtype)
    dx = np.empty(g.x_shape, dy.dtype)
    divisors = _divisors(g, acc)

    def work(images: Pair, channels: Pair, input_block: Pair) -> None:
        h0, h1 = input_block
        p0, p1 = g.axes[0].windows_over(h0, h1)
        target = dx[slice(*images), slice(*channels), h0:h1]
        if _window_is_input(g):
            target[...] = dy[slice(*images), slice(*channels)] / divisors
            return
        total = target if dx.dtype == acc else np.empty(target.shape, acc)
        lines = Lines(g, (len(target), target.shape[1]), (p0, p1))
        spread, shares = threads.scratch(acc, (lines.size,), (lines.run,))
        shares[...] = 0
        part = dy[slice(*images), slice(*channels), p0:p1]
        np.divide(part, divisors[p0:p1], out=lines.of_windows(shares))
        spread[...] = 0
        for s, column in lines.columns(lines.phases(spread)):
            _add(column, shares, first=s < g.stride[1])
        total[...] = 0
        inside = lines.inside(spread)
        for r, where, row in lines.rows(total, h0):
            _add(row, inside[:, :, where], first=r < g.stride[0])
        if total is not target:
            target[...] = total

    threads.run(work, plane_blocks(g.N, g.C, g.H, (g.W + g.S) * acc.itemsize), WORKING_BYTES, alone=True)
    return dx


def _add(total: np.ndarray, term: np.ndarray, first: bool) -> None:
    """Add in place; `first`: total is still 0."""
    if first:
        total[...] = term
    else:
        total += term


@lru_cache
def _divisors(g: AvgPoolGeometry, acc: np.dtype) -> np.ndarray:
    """What each window's sum is divided by, (P, Q); where all are equal, each is a view of one number."""
    rows, columns = g.counts()
    divisors = rows.astype(acc)[:, None] * columns.astype(acc)
    equal = (divisors == divisors[0, 0]).all()
    return np.broadcast_to(divisors[0, 0].copy(), divisors.shape) if equal else divisors


def _window_is_input(g: PoolGeometry) -> bool:
    """Whether the only window is the whole input (global pooling)."""
    return (g.P, g.Q, g.R, g.S, g.padding[0][0], g.padding[1][0]) == (1, 1, g.H, g.W, 0, 0)


def _only_window_sum(x: np.ndarray, g: PoolGeometry, acc: np.dtype) -> np.ndarray:
    """The sums of planes (n, c, H, W) over their only window, (n, c, 1, 1), as a product with ones."""
    (top, _), (left, _) = g.padding
    part = x[:, :, : max(0, g.R - top), : max(0, g.S - left)].astype(acc, copy=False)
    part = part.reshape(*part.shape[:2], -1)
    return (part @ np.ones(part.shape[2], acc))[..., None, None]
