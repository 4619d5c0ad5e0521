"""Correlation, and its weight gradient, as products with gathered columns (im2col), block by block.

A block's columns are gathered into a buffer that stays in cache, and one BLAS product turns them into output pixels.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .columns import Columns
from .correlation import UNITS, WIDE, Block, Correlation, Part, cut, divide, images_for, spans

WEIGHT_BYTES = 8 << 20  # of weights that must be rearranged or converted, at a time
TERM_BYTES = 2 << 20  # of one product that is added to a sum
SUM_BYTES = 8 << 20  # of partial weight gradients


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation) -> None:
    """Fill y (N, G, K, P, Q), of any strides and dtype, from x (N, G, C, H, W), w (G, K, C, R, S), b (G, K) or None.

    Sums are kept in float32, or in float64 where x is float64.
    """
    acc = accumulation_dtype(x.dtype)
    if c.depth == 0:
        y[...] = 0 if b is None else b[:, :, None, None]
        return
    for k0, k1 in spans(c.K, WEIGHT_BYTES // (c.G * c.depth * acc.itemsize)):
        weights = w[:, k0:k1].astype(acc, copy=False).reshape(c.G, k1 - k0, c.depth)
        bias = None if b is None else b[:, k0:k1, None].astype(acc)
        _multiply(x, weights, bias, y[:, :, k0:k1], c)


def _multiply(x: np.ndarray, weights: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation) -> None:
    """`correlate` with weights as matrices (G, K, depth) and b as columns (G, K, 1)."""
    k, acc = weights.shape[1], weights.dtype
    plan = cut(c, acc.itemsize, images_for(c, WIDE), c.C, joint=c.P * c.Q < WIDE)

    def work(block: Block, groups: Pair, rows: Pair) -> None:
        g, k = slice(*groups), slice(*rows)
        target = block.of(y[:, g, k])
        direct = pixel_matrix(target, block, acc)
        shape = block.matrices[0], *target.shape[1:3], block.matrices[1]
        terms = shape if len(plan.parts) > 1 else (0,)
        columns = Columns(x[:, g], c, block, plan.parts, acc, (0,) if direct is not None else shape, terms)
        total, term = columns.extra if direct is None else (direct, columns.extra[1])
        for i, part in enumerate(plan.parts):
            np.matmul(weights[g, k, part.span(c)], columns.of(part), out=total if i == 0 else term)
            if i > 0:
                total += term
        if b is not None:
            total += b[g, k]
        if direct is None:
            target[...] = ordered(total, block)

    rows = spans(k, max(WIDE, -(-k * len(plan.blocks) * len(plan.groups) // UNITS)))
    blocks = [(block, groups, span) for block in plan.blocks for groups in plan.groups for span in rows]
    threads.run(work, blocks, alone=threads.is_small(k, c.depth, c.N * c.P * c.Q))


def pixel_matrix(a: np.ndarray, block: Block, acc: np.dtype) -> np.ndarray | None:
    """A block (N, G, K, P, Q) as matrices (N, G, K, P*Q) without a copy, or None where strides or dtype forbid it."""
    n, p, q = block.extents
    contiguous = a.strides[4] == acc.itemsize and (p == 1 or a.strides[3] == q * acc.itemsize)
    if a.dtype != acc or not contiguous or block.matrices[0] != n:
        return None
    return a.reshape(*a.shape[:3], p * q)


def ordered(matrices: np.ndarray, block: Block) -> np.ndarray:
    """A view (N, G, K, P, Q) of matrices whose pixels are ordered as Columns orders them."""
    n, p, q = block.extents
    if block.joint:
        return matrices.reshape(*matrices.shape[1:3], n, p, q).transpose(2, 0, 1, 3, 4)
    return matrices.reshape(*matrices.shape[:3], p, q)


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation) -> None:
    """Fill dw (G, K, C, R, S), contiguous, from dy (N, G, K, P, Q) and x (N, G, C, H, W), of any strides.

    The pixel blocks form lanes, each with sums of its own that are added in order at the end; large weights have one
    lane, and parts of the columns are the units of work instead.
    """
    acc = accumulation_dtype(x.dtype)
    if dw.size == 0 or c.N == 0:
        dw[...] = 0
        return
    most = max(1, min(UNITS, SUM_BYTES // (dw.size * acc.itemsize)))
    plan = cut(c, acc.itemsize, images_for(c, 2 * WIDE), -(-c.C * most // UNITS), joint=True)
    lanes = divide(len(plan.blocks), min(len(plan.blocks), most))
    whole = dw.reshape(1, c.G, c.K, c.depth)
    sums = whole if len(lanes) == 1 and dw.dtype == acc else np.empty((len(lanes), *whole.shape[1:]), acc)

    def work(lane: int, groups: Pair, part: Part, rows: Pair) -> None:
        g, k = slice(*groups), slice(*rows)
        total = sums[lane, g, k, part.span(c)]
        for i in range(*lanes[lane]):
            _add_product(dy[:, g, k], x[:, g], total, c, plan.blocks[i], part, first=i == lanes[lane][0])

    row_bytes = max(part.depth(c) for part in plan.parts) * acc.itemsize
    blocks = [
        (lane, groups, part, rows)
        for lane in range(len(lanes))
        for groups in plan.groups
        for part in plan.parts
        for rows in spans(c.K, TERM_BYTES // (row_bytes * (groups[1] - groups[0])))
    ]
    threads.run(work, blocks, alone=threads.is_small(c.K, c.N * c.P * c.Q, c.depth))
    if sums is not whole:
        whole[0] = np.add.reduce(sums)


def _add_product(
    dy: np.ndarray, x: np.ndarray, total: np.ndarray, c: Correlation, block: Block, part: Part, first: bool
) -> None:
    """Add one block's share of a part of dw to `total`, or begin with it."""
    target = block.of(dy)
    direct = pixel_matrix(target, block, total.dtype)
    shape = block.matrices[0], *target.shape[1:3], block.matrices[1]
    columns = Columns(x, c, block, [part], total.dtype, (0,) if direct is not None else shape, total.shape)
    gradients, term = columns.extra if direct is None else (direct, columns.extra[1])
    if direct is None:
        ordered(gradients, block)[...] = target
    for gradient, column in zip(gradients, columns.of(part), strict=True):
        np.matmul(gradient, column.transpose(0, 2, 1), out=total if first else term)
        if not first:
            total += term
        first = False
