"""3x3 and 5x5 convolution at stride 1 by Winograd / Toom-Cook minimal filtering, in float32.

Every tile of m x m outputs is y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A (A. Lavin, S. Gray, "Fast algorithms for convolutional
neural networks", CVPR 2016): F(m x m, r x r) takes (m+r-1)² products per tile and channel instead of m²r². The sum over
channels is one matrix product per position of the transformed tile. The weight gradient is F(r x r, m x m) with the
same points: dw = A'ᵀ[(G' dy G'ᵀ) ⊙ (Bᵀ x B)]A', summed over tiles before the last transform. Used are F(2x2, 3x3),
F(4x4, 3x3) and F(2x2, 5x5); a dilation splits the problem into residue classes.

The points 0, ±3/4, ±3/2 and infinity keep rounding small: against float64, and in units of the largest output, the
largest error stays below 8 times that of im2col, for 16 channels and 4 rows and columns or more (measured: F(4x4, 3x3)
at most 7 times, typically 1 to 2; F(2x2, 3x3) at most 3, typically 1). A tile mixes all of its inputs: an output's
error is in proportion to the largest element of its tile, not only of its own window. Float32 precision "ieee"
(precision.py) keeps to im2col. Blocks whose result is not finite are computed again by im2col: infinities and NaN
reach exactly the outputs they belong to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..checks import Pair
from ..cpu import threads
from . import im2col
from .correlation import UNITS, Correlation, divide, spans
from .winograd_transforms import (
    FLOAT32,
    Filter,
    Tiles,
    Transform,
    blocks_of,
    output_row_shape,
    planes,
    tile_planes,
    transform_output,
    transform_weight_grad,
    transform_weights,
)

WEIGHT_BYTES = 20 << 20  # of transformed weights at a time
BLOCK_BYTES = 6 << 20  # of one block's transformed input and products
STAGE_BYTES = 12 << 20  # of transformed input that all threads share
LANE_BYTES = 20 << 20  # of partial weight gradients
SHARE = 1 << 18  # transformed weights that are worth handing out
TILES = 112  # in a block: its arrays stay in cache


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation, m: int) -> None:
    """Fill y (N, 1, K, P, Q) from x (N, 1, C, H, W), w (1, K, C, R, R) and b (1, K) or None, all float32.

    m: the outputs per tile and axis; 2 or 4 for R = 3, 2 for R = 5.
    """
    f = Filter(m, c.R, c.dilation)
    n = f.n
    spoilt: list[Tiles] = []
    for k0, k1 in spans(c.K, WEIGHT_BYTES // (n * n * c.C * FLOAT32.itemsize)):
        weights = tile_planes(np.empty(planes(n, c.C, k1 - k0), FLOAT32), n, c.C, k1 - k0)
        part = w[0, k0:k1]
        threads.run(
            lambda c0, c1, part=part, weights=weights: transform_weights(part[:, c0:c1], f, weights[:, :, c0:c1]),
            shares(c.C, n * n * (k1 - k0)),
        )
        bias = None if b is None else b[0, k0:k1, None, None]
        _multiply(x[:, 0], weights, bias, y[:, 0, k0:k1], c, f, spoilt)
    for n0, n1 in sorted({(block.n0, block.n1) for block in spoilt}):
        im2col.correlate(x[n0:n1], w, b, y[n0:n1], replace(c, N=n1 - n0))


def shares(channels: int, elements: int) -> tuple[Pair, ...]:
    """The channels in spans whose weights, of so many transformed elements a channel, are worth handing out."""
    return spans(channels, max(-(-channels // UNITS), SHARE // elements))


def _multiply(
    x: np.ndarray,
    weights: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    c: Correlation,
    f: Filter,
    spoilt: list[Tiles],
) -> None:
    """`correlate` with transformed weights (n, n, C, K); adds the blocks whose result is not finite to `spoilt`."""
    n, k = f.n, weights.shape[3]
    transform = Transform.of_input(f, c.origin)

    def work(*extents: int) -> None:
        block = Tiles(*extents)
        rows, inputs, products, lines_out = threads.scratch(
            FLOAT32,
            transform.row_shape(block, c.C),
            planes(n, block.total, c.C),
            planes(n, block.total, k),
            output_row_shape(f, block, k),
        )
        inputs = tile_planes(inputs, n, block.total, c.C)
        products = tile_planes(products, n, block.total, k)
        transform(x, block, rows, inputs)
        np.matmul(inputs, weights, out=products)
        transform_output(products, f, block, lines_out, y)
        if not np.isfinite(lines_out.sum()):
            spoilt.append(block)
        elif b is not None:
            block.of_output(y, f)[...] += b

    most = min(TILES, BLOCK_BYTES // (n * n * (c.C + k) * FLOAT32.itemsize))
    threads.run(work, blocks_of(c, f, most))


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, m: int) -> None:
    """Fill dw (1, K, C, R, R) from dy (N, 1, K, P, Q) and x (N, 1, C, H, W), all float32."""
    f = Filter(m, c.R, c.dilation)
    lane_bytes = f.n**2 * c.K * c.C * FLOAT32.itemsize
    grad = grad_by_lanes if UNITS * lane_bytes <= LANE_BYTES else grad_by_stages
    grad(dy[:, 0], x[:, 0], dw[0], c, f)
    with np.errstate(all="ignore"):
        finite = np.isfinite(dw.sum())
    if not finite:
        im2col.weight_grad(dy, x, dw, c)


def grad_by_lanes(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, f: Filter) -> None:
    """`weight_grad` where the transformed weights are small; arrays without the axis of groups.

    Blocks of tiles form lanes, each with sums of its own that are added in order at the end.
    """
    n = f.n
    of_x, of_dy = Transform.of_input(f, c.origin), Transform.of_gradient(f)
    blocks = blocks_of(c, f, 2 * TILES)
    lanes = divide(len(blocks), min(len(blocks), UNITS))
    sums = np.zeros((len(lanes), n, n, c.K, c.C), FLOAT32)

    def work(lane: int) -> None:
        for block in blocks[slice(*lanes[lane])]:
            rows, inputs, lines, gradients, term = threads.scratch(
                FLOAT32,
                of_x.row_shape(block, c.C),
                planes(n, block.total, c.C),
                of_dy.row_shape(block, c.K),
                planes(n, block.total, c.K),
                sums.shape[1:],
            )
            inputs = tile_planes(inputs, n, block.total, c.C)
            gradients = tile_planes(gradients, n, block.total, c.K)
            of_x(x, block, rows, inputs)
            of_dy(dy, block, lines, gradients)
            np.matmul(gradients.swapaxes(2, 3), inputs, out=term)
            sums[lane] += term

    threads.run(work, [(lane,) for lane in range(len(lanes))])
    total = np.add.reduce(sums)
    threads.run(lambda k0, k1: transform_weight_grad(total[:, :, k0:k1], f, dw[k0:k1]), shares(c.K, n * n * c.C))


def grad_by_stages(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, f: Filter) -> None:
    """`weight_grad` where the transformed weights are large; arrays without the axis of groups.

    All threads transform a stage of tiles, then share out its products, then transform their sums and add to dw.
    """
    n = f.n
    of_x, of_dy = Transform.of_input(f, c.origin), Transform.of_gradient(f)
    rows = spans(c.K, WEIGHT_BYTES // 2 // (n * n * c.C * FLOAT32.itemsize))
    widest = max(k1 - k0 for k0, k1 in rows)
    most = STAGE_BYTES // (n * n * (c.C + widest) * FLOAT32.itemsize)
    dw[...] = 0
    for stage in _stages(blocks_of(c, f, TILES // 4), most):
        tiles = stage[-1].stop
        inputs = tile_planes(np.empty(planes(n, tiles, c.C), FLOAT32), n, tiles, c.C)
        _transform_all(of_x, x, stage, inputs)
        for k0, k1 in rows:
            gradients = tile_planes(np.empty(planes(n, tiles, k1 - k0), FLOAT32), n, tiles, k1 - k0)
            _transform_all(of_dy, dy[:, k0:k1], stage, gradients)
            _add_sums(gradients, inputs, dw[k0:k1], f)


class Placed(NamedTuple):
    """A block whose tiles are start:stop of its stage."""

    block: Tiles
    start: int
    stop: int


def _stages(blocks: list[Tiles], most: int) -> list[list[Placed]]:
    """Consecutive blocks in stages of at most `most` tiles, or of one block."""
    stages: list[list[Placed]] = []
    for block in blocks:
        if not stages or stages[-1][-1].stop + block.total > most:
            stages.append([])
        start = stages[-1][-1].stop if stages[-1] else 0
        stages[-1].append(Placed(block, start, start + block.total))
    return stages


def _transform_all(t: Transform, x: np.ndarray, stage: list[Placed], out: np.ndarray) -> None:
    def work(block: Tiles, start: int, stop: int) -> None:
        (rows,) = threads.scratch(FLOAT32, t.row_shape(block, x.shape[1]))
        t(x, block, rows, out[:, :, start:stop])

    threads.run(work, stage)


def _add_sums(gradients: np.ndarray, inputs: np.ndarray, dw: np.ndarray, f: Filter) -> None:
    """Add the share of transformed gradients (n, n, tiles, K) and inputs (n, n, tiles, C) to dw (K, C, R, R)."""
    n, k, channels = f.n, gradients.shape[3], inputs.shape[3]
    sums = tile_planes(np.empty(planes(n, k, channels), FLOAT32), n, k, channels)
    positions = [(i, j) for i in range(n) for j in range(n)]
    threads.run(lambda i, j: np.matmul(gradients[i, j].T, inputs[i, j], out=sums[i, j]), positions)

    def work(k0: int, k1: int) -> None:
        (term,) = threads.scratch(FLOAT32, (k1 - k0, *dw.shape[1:]))
        transform_weight_grad(sums[:, :, k0:k1], f, term)
        dw[k0:k1] += term

    threads.run(work, shares(k, n * n * channels))
