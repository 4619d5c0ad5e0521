"""Correlation, and its weight gradient, from input rows that are gathered once for all kernel rows that read them.

Of every input row h, what the kernel columns see of it is one matrix (C*S, Q). These lie one after the other, so that
those of the R rows under an output row are one matrix (R*C*S, Q) as they lie: R times less copying than im2col. Where
rows are short, those of several images stand side by side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .correlation import BLOCK_FLOPS, UNITS, Correlation, divide, even_spans, half, spans
from .planes import copy_sampled

LINE = 96  # pixels that a product needs to run at full speed
SHORT_LINE = 24  # with few weights, which then need no rearranging
FEW_WEIGHTS = 1 << 10
BLOCK_BYTES = 4 << 20  # of gathered rows, gradients and products
TERM_BYTES = 256 << 10  # of products that are added to a sum


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation) -> None:
    """Fill y (N, G, K, P, Q), of any strides and dtype, from x (N, G, C, H, W), w (G, K, C, R, S), b (G, K) or None.

    Sums are kept in float32, or in float64 where x is float64. dilation[0] must be 1.
    """
    acc = accumulation_dtype(x.dtype)
    weights = w.transpose(0, 1, 3, 2, 4).astype(acc, order="C").reshape(c.G, c.K, c.depth)
    bias = None if b is None else b[:, :, None, None].astype(acc)
    line = SHORT_LINE if c.K * c.depth <= FEW_WEIGHTS else LINE
    joint = line > c.Q
    direct = not joint and y.dtype == acc and y.strides[4] == acc.itemsize

    def work(images: Pair, lines: Pair) -> None:
        target = y[slice(*images), :, :, slice(*lines)]
        rows, total = _scratch(acc, target.shape, c, joint, not direct)
        if direct:
            total = target
        np.matmul(weights, _columns(x[slice(*images)], rows, c, lines), out=_by_row(total))
        if bias is not None:
            total += bias
        if not direct:
            target[...] = _pixels(total, target.shape)

    threads.run(work, _blocks(c, acc.itemsize, line), BLOCK_BYTES, threads.is_small(c.K, c.depth, c.N * c.Q))


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation) -> None:
    """Fill dw (G, K, C, R, S) from dy (N, G, K, P, Q) and x (N, G, C, H, W), of any strides; dilation[0] must be 1.

    The blocks form lanes, each with sums of its own that are added in order at the end. A product has the taps as its
    rows, of which there are more than channels: BLAS is faster that way round.
    """
    acc = accumulation_dtype(x.dtype)
    joint = LINE > c.Q
    direct = not joint and dy.dtype == acc and dy.strides[4] == acc.itemsize
    blocks = _blocks(c, acc.itemsize, LINE)
    lanes = divide(len(blocks), min(len(blocks), UNITS))
    sums = np.zeros((len(lanes), c.G, c.depth, c.K), acc)
    most = max(1, TERM_BYTES // max(1, sums[:1].nbytes))

    def work(lane: int) -> None:
        for images, lines in blocks[slice(*lanes[lane])]:
            source = dy[slice(*images), :, :, slice(*lines)]
            rows, gradients, terms = _scratch(
                acc, source.shape, c, joint, not direct, (1 if joint else len(source), most, *sums.shape[1:])
            )
            columns = _columns(x[slice(*images)], rows, c, lines)
            if direct:
                gradients = source
            else:
                _pixels(gradients, source.shape)[...] = source
            gradients = _by_row(gradients).swapaxes(3, 4)
            for p0, p1 in spans(columns.shape[1], most):
                term = terms[: len(columns), : p1 - p0]
                np.matmul(columns[:, p0:p1], gradients[:, p0:p1], out=term)
                sums[lane] += term[0, 0] if term.shape[:2] == (1, 1) else np.add.reduce(term, axis=(0, 1))

    alone = threads.is_small(c.depth, c.N * c.Q, c.K)
    threads.run(work, [(lane,) for lane in range(len(lanes))], BLOCK_BYTES, alone)
    total = np.add.reduce(sums)
    dw[...] = total.reshape(c.G, c.R, c.C, c.S, c.K).transpose(0, 4, 2, 1, 3)


@lru_cache
def _blocks(c: Correlation, itemsize: int, line: int) -> list[tuple[Pair, Pair]]:
    """Spans of images and of output rows that cover the output, by shape alone."""
    least = min(c.N, -(-line // c.Q))
    n, p = min(c.N, max(least, -(-c.N // UNITS), c.N * BLOCK_FLOPS // max(1, c.flops))), c.P

    def too_large() -> bool:
        return (_rows(c, p) * c.C * c.S + p * c.K) * c.G * n * c.Q * itemsize > BLOCK_BYTES

    while n > least and too_large():
        n = max(least, half(n))
    while p > 1 and too_large():
        p = half(p)
    return [(images, lines) for images in even_spans(c.N, n) for lines in spans(c.P, p)]


def _rows(c: Correlation, p: int) -> int:
    """Input rows under p output rows."""
    return (p - 1) * c.stride[0] + c.R


def _scratch(
    acc: np.dtype, pixels: tuple[int, ...], c: Correlation, joint: bool, copied: bool, *extra: tuple[int, ...]
) -> list[np.ndarray]:
    """Arrays for a block of the output of shape `pixels`, (n, G, K, p, Q): gathered rows (1 or n, G, rows, C, S, n or
    1, Q); products or gradients (1 or n, G, K, p, n*Q or Q) where they are copied; and `extra`."""
    n, g, k, p, q = pixels
    sets, side_by_side = (1, n) if joint else (n, 1)
    rows = sets, g, _rows(c, p), c.C, c.S, side_by_side, q
    return threads.scratch(acc, rows, (sets, g, k, p, side_by_side * q) if copied else (0,), *extra)


def _columns(x: np.ndarray, rows: np.ndarray, c: Correlation, lines: Pair) -> np.ndarray:
    """Gather the rows under some output rows; a view of every output row's matrix, (1 or n, p, G, R*C*S, pixels).

    At a stride, reading x is slower than copying: a tap's elements but the last are those of the tap a stride before.
    """
    start = lines[0] * c.stride[0] - c.origin[0], -c.origin[1]
    seen = rows.transpose(4, 0, 5, 1, 3, 2, 6).reshape(c.S, *x.shape[:3], rows.shape[2], c.Q)
    for s in range(c.S):
        tap = start[0], start[1] + s * c.dilation[1]
        if c.dilation[1] == 1 < c.stride[1] <= s:
            seen[s, ..., :-1] = seen[s - c.stride[1], ..., 1:]
            copy_sampled(x, seen[s, ..., -1:], (tap[0], tap[1] + (c.Q - 1) * c.stride[1]), (1, c.stride[1]))
        else:
            copy_sampled(x, seen[s], tap, (1, c.stride[1]))
    pixels = rows.shape[5] * c.Q
    shape = len(rows), lines[1] - lines[0], c.G, c.depth, pixels
    strides = rows.strides[0], c.stride[0] * rows.strides[2], rows.strides[1], pixels * rows.itemsize, rows.itemsize
    return np.ndarray(shape, rows.dtype, rows, 0, strides)


def _by_row(lines: np.ndarray) -> np.ndarray:
    """Lines of pixels (1 or n, G, K, p, pixels) as one matrix (K, pixels) per output row: (1 or n, p, G, K, pixels)."""
    return lines.transpose(0, 3, 1, 2, 4)


def _pixels(lines: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lines of pixels (1 or n, G, K, p, n*Q or Q) as a view (n, G, K, p, Q), which is `shape`."""
    split = lines.reshape(*lines.shape[:4], -1, shape[4])
    return split.transpose(0, 4, 1, 2, 3, 5).reshape(shape)
