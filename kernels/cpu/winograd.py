"""3x3 convolution at stride 1 by Winograd / Toom-Cook minimal filtering, F(4x4, 3x3) and F(2x2, 3x3), in float32.

Every tile of m x m outputs is y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A (A. Lavin, S. Gray, "Fast algorithms for convolutional
neural networks", CVPR 2016): (m+2)² products per tile and channel instead of 9m². The sum over channels is one matrix
product per position of the transformed tile, and the transforms are matrix products too: along W a banded matrix reads
the unpadded input and puts channels last, along H the small matrix works on whole rows of tiles. The weight gradient
is F(3x3, m x m) with the same points: dw = A'ᵀ[(G' dy G'ᵀ) ⊙ (Bᵀ x B)]A', summed over tiles before the last transform.

The points 0, ±3/4, ±3/2 and infinity keep rounding small: against float64, and in units of the largest output, the
largest error stays below 8 times that of im2col, for 16 channels and 4 rows and columns or more (measured: F(4x4) at
most 7 times, typically 1 to 2; F(2x2) at most 3, typically 1). A tile mixes all of its inputs: an output's error is in
proportion to the largest element of its tile ((m+2) x (m+2) inputs), not only of its own window. Float32 precision
"ieee" (precision.py) keeps to im2col. Blocks whose result is not finite are computed again by im2col: infinities and
NaN reach exactly the outputs they belong to.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..checks import Pair
from . import im2col, threads
from .correlation import UNITS, Correlation, spans

FLOAT32 = np.dtype(np.float32)
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}
WEIGHT_BYTES = 20 << 20  # of transformed weights at a time
BLOCK_BYTES = 6 << 20  # of one block's transformed input and products
STAGE_BYTES = 12 << 20  # of transformed input that all threads share
LANE_BYTES = 20 << 20  # of partial weight gradients
TILES = 112  # in a block: its arrays stay in cache
TILE_COLUMNS = 8  # more would make the banded matrices mostly zeros


@lru_cache
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of F(m, r), n = m + r - 1, in float64.

    Toom-Cook: powers of each point a_j, over prod(a_j - a_l) in G, and the interpolating polynomials' coefficients.
    """
    n, points = m + r - 1, POINTS[m + r - 3]
    a, g, b = np.zeros((n, m)), np.zeros((n, r)), np.zeros((n, n))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        a[j] = point ** np.arange(m)
        g[j] = point ** np.arange(r) / np.prod(point - others)
        b[j, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(points)[::-1]
    return a.T, g, b


class Transform(NamedTuple):
    """A matrix (n, extent) for tiles of `extent` inputs, one every m, from `origin` before the first input on."""

    matrix: np.ndarray
    m: int
    origin: Pair

    @classmethod
    def of_input(cls, m: int, origin: Pair) -> Transform:
        return cls(_float32(matrices(m, 3)[2]), m, origin)

    @classmethod
    def of_gradient(cls, m: int) -> Transform:
        return cls(_float32(matrices(3, m)[1]), m, (0, 0))


def _float32(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix, FLOAT32)


class Tiles(NamedTuple):
    """A block: images n0:n1, tile rows i0:i1 and tile columns j0:j1."""

    n0: int
    n1: int
    i0: int
    i1: int
    j0: int
    j1: int

    @property
    def extents(self) -> tuple[int, int, int]:
        return self.n1 - self.n0, self.i1 - self.i0, self.j1 - self.j0

    @property
    def total(self) -> int:
        n, i, j = self.extents
        return n * i * j


def blocks_of(c: Correlation, m: int, most: int) -> list[Tiles]:
    """Cover the output with blocks of at most about `most` tiles, by shape alone."""
    rows, columns = -(-c.P // m), -(-c.Q // m)
    columns_each = min(columns, TILE_COLUMNS, max(1, most))
    rows_each = min(rows, max(1, most // columns_each))
    images_each = max(1, min(most // (rows_each * columns), -(-c.N // UNITS) if rows * columns >= TILES // 2 else c.N))
    return [
        Tiles(*images, *lines, *some)
        for images in spans(c.N, images_each)
        for lines in spans(rows, rows_each)
        for some in spans(columns, columns_each)
    ]


def planes(n: int, rows: int, columns: int) -> tuple[int, ...]:
    """Shape of `tile_planes`' memory: the planes keep a distance that does not map them onto the same cache sets."""
    return n * n, rows * columns + 272


def tile_planes(memory: np.ndarray, n: int, rows: int, columns: int) -> np.ndarray:
    """(n, n, rows, columns) in memory of shape `planes`."""
    return memory[:, : rows * columns].reshape(n, n, rows, columns)


def row_shape(t: Transform, block: Tiles, channels: int) -> tuple[int, ...]:
    """(images, rows, n, tile columns, channels): a block transformed along W only."""
    images, lines, columns = block.extents
    n, extent = t.matrix.shape
    return images, (lines - 1) * t.m + extent, n, columns, channels


def transform(t: Transform, x: np.ndarray, block: Tiles, rows: np.ndarray, out: np.ndarray) -> None:
    """Both one-dimensional transforms of a block's tiles: x (N, C, H, W) to out (n, n, tiles, C).

    rows: scratch of row_shape. Tiles may reach outside x, where it counts as 0.
    """
    (images, lines, columns), (n, extent), channels = block.extents, t.matrix.shape, x.shape[1]
    top, height = block.i0 * t.m - t.origin[0], rows.shape[1]
    h0, h1 = min(max(0, -top), height), max(0, min(height, x.shape[2] - top))
    band, (w0, w1) = _band(t.matrix.tobytes(), n, t.m, x.shape[3], block.j0 * t.m - t.origin[1], columns)
    rows[:, :h0] = 0
    rows[:, h1:] = 0
    if h0 < h1:
        part = x[block.n0 : block.n1, :, top + h0 : top + h1, w0:w1].transpose(0, 2, 3, 1)
        np.matmul(band, part, out=rows[:, h0:h1].reshape(images, h1 - h0, n * columns, channels))
    step_n, step_h, step_w = rows.strides[:3]
    strides = step_n, t.m * step_h, step_w, step_h, rows.itemsize
    overlapping = as_strided(rows, (images, lines, n, extent, columns * channels), strides)
    target = out.reshape(n, n, images, lines, columns * channels).transpose(2, 3, 1, 0, 4)
    np.matmul(t.matrix, overlapping, out=target)


@lru_cache(256)
def _band(matrix: bytes, n: int, m: int, extent: int, start: int, columns: int) -> tuple[np.ndarray, Pair]:
    """One matrix (n * columns, high - low) that transforms a row of tiles from its inputs low:high, with (low, high).

    Tile j reads inputs start + j*m ...; what lies outside range(extent) is padding and left out.
    """
    small = np.frombuffer(matrix, FLOAT32).reshape(n, -1)
    width = (columns - 1) * m + small.shape[1]
    band = np.zeros((n, columns, width), FLOAT32)
    for j in range(columns):
        band[:, j, j * m : j * m + small.shape[1]] = small
    low, high = min(max(start, 0), extent), max(0, min(start + width, extent))
    return np.ascontiguousarray(band.reshape(n * columns, width)[:, low - start : high - start]), (low, high)


def transform_weights(w: np.ndarray, m: int, out: np.ndarray) -> None:
    """G w Gᵀ: w (K, C, 3, 3), possibly with both kernel axes turned round, to out (n, n, C, K)."""
    g = matrices(m, 3)[1]
    kernel = np.kron(g, g)
    if w.strides[2] < 0 and w.strides[3] < 0:
        w, kernel = w[..., ::-1, ::-1], kernel[:, ::-1]
    target = out.reshape(len(kernel), *out.shape[2:]).transpose(1, 0, 2)
    np.matmul(_float32(kernel), w.reshape(*w.shape[:2], 9).transpose(1, 2, 0), out=target)


def transform_output(products: np.ndarray, m: int, block: Tiles, rows: np.ndarray, y: np.ndarray) -> None:
    """Aᵀ M A: products (n, n, tiles, K) into the block's part of y (N, K, P, Q).

    rows: scratch (images, lines*m, n, tile columns, K).
    """
    (images, lines, columns), k, a = block.extents, products.shape[3], _float32(matrices(m, 3)[0])
    n = a.shape[1]
    source = products.reshape(n, n, images, lines, columns * k).transpose(2, 3, 1, 0, 4)
    np.matmul(a, source, out=rows.reshape(images, lines, m, n, columns * k).transpose(0, 1, 3, 2, 4))
    target = output_of(block, y, m)
    lines_kept, columns_kept = target.shape[2:]
    band = _output_band(m, columns, columns_kept)
    transposed = rows.reshape(images, lines * m, n * columns, k)[:, :lines_kept].transpose(0, 1, 3, 2)
    np.matmul(transposed, band, out=target.transpose(0, 2, 1, 3))


def output_of(block: Tiles, y: np.ndarray, m: int) -> np.ndarray:
    """The block's part of y (N, K, P, Q)."""
    return y[block.n0 : block.n1, :, block.i0 * m : block.i1 * m, block.j0 * m : block.j1 * m]


@lru_cache(256)
def _output_band(m: int, columns: int, kept: int) -> np.ndarray:
    """A of `columns` neighbouring tiles as one matrix (n * columns, kept) to their first `kept` outputs."""
    a = matrices(m, 3)[0]
    n = a.shape[1]
    band = np.zeros((n, columns, columns * m))
    for j in range(columns):
        band[:, j, j * m : (j + 1) * m] = a.T
    return _float32(band.reshape(n * columns, -1)[:, :kept])


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation, m: int) -> None:
    """Fill y (N, 1, K, P, Q) from x (N, 1, C, H, W), w (1, K, C, 3, 3) and b (1, K) or None, all float32.

    m: 2 or 4, the outputs per tile and axis.
    """
    n = m + 2
    spoilt: list[Tiles] = []
    for k0, k1 in spans(c.K, WEIGHT_BYTES // (n * n * c.C * FLOAT32.itemsize)):
        weights = tile_planes(np.empty(planes(n, c.C, k1 - k0), FLOAT32), n, c.C, k1 - k0)
        part = w[0, k0:k1]
        threads.run(
            lambda c0, c1, part=part, weights=weights: transform_weights(part[:, c0:c1], m, weights[:, :, c0:c1]),
            spans(c.C, max(16, -(-c.C // UNITS))),
        )
        bias = None if b is None else b[0, k0:k1, None, None]
        _multiply(x[:, 0], weights, bias, y[:, 0, k0:k1], c, m, spoilt)
    for n0, n1 in sorted({(block.n0, block.n1) for block in spoilt}):
        im2col.correlate(x[n0:n1], w, b, y[n0:n1], replace(c, N=n1 - n0))


def _multiply(
    x: np.ndarray, weights: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation, m: int, spoilt: list[Tiles]
) -> None:
    """`correlate` with transformed weights (n, n, C, K); adds the blocks whose result is not finite to `spoilt`."""
    n, k = m + 2, weights.shape[3]
    t = Transform.of_input(m, c.origin)

    def work(*extents: int) -> None:
        block = Tiles(*extents)
        images, lines, columns = block.extents
        rows, inputs, products, lines_out = threads.scratch(
            FLOAT32, row_shape(t, block, c.C), planes(n, block.total, c.C), planes(n, block.total, k),
            (images, lines * m, n, columns, k),
        )  # fmt: skip
        inputs = tile_planes(inputs, n, block.total, c.C)
        products = tile_planes(products, n, block.total, k)
        transform(t, x, block, rows, inputs)
        np.matmul(inputs, weights, out=products)
        transform_output(products, m, block, lines_out, y)
        if not np.isfinite(lines_out.sum()):
            spoilt.append(block)
        elif b is not None:
            output_of(block, y, m)[...] += b

    most = min(TILES, BLOCK_BYTES // (n * n * (c.C + k) * FLOAT32.itemsize))
    threads.run(work, blocks_of(c, m, max(TILE_COLUMNS, most)))


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, m: int) -> None:
    """Fill dw (1, K, C, 3, 3) from dy (N, 1, K, P, Q) and x (N, 1, C, H, W), all float32."""
    lane_bytes = (m + 2) ** 2 * c.K * c.C * FLOAT32.itemsize
    grad = grad_by_lanes if UNITS * lane_bytes <= LANE_BYTES else grad_by_stages
    grad(dy[:, 0], x[:, 0], dw[0], c, m)
    with np.errstate(all="ignore"):
        finite = np.isfinite(dw.sum())
    if not finite:
        im2col.weight_grad(dy, x, dw, c)


def grad_by_lanes(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, m: int) -> None:
    """`weight_grad` where the transformed weights are small; arrays without the axis of groups.

    Blocks of tiles form lanes, each with sums of its own that are added in order at the end.
    """
    n = m + 2
    of_x, of_dy = Transform.of_input(m, c.origin), Transform.of_gradient(m)
    blocks = blocks_of(c, m, 2 * TILES)
    lanes = spans(len(blocks), -(-len(blocks) // UNITS))
    sums = np.zeros((len(lanes), n, n, c.K, c.C), FLOAT32)

    def work(lane: int) -> None:
        for block in blocks[slice(*lanes[lane])]:
            rows, inputs, lines, gradients, term = threads.scratch(
                FLOAT32, row_shape(of_x, block, c.C), planes(n, block.total, c.C),
                row_shape(of_dy, block, c.K), planes(n, block.total, c.K), sums.shape[1:],
            )  # fmt: skip
            inputs = tile_planes(inputs, n, block.total, c.C)
            gradients = tile_planes(gradients, n, block.total, c.K)
            transform(of_x, x, block, rows, inputs)
            transform(of_dy, dy, block, lines, gradients)
            np.matmul(gradients.swapaxes(2, 3), inputs, out=term)
            sums[lane] += term

    threads.run(work, [(lane,) for lane in range(len(lanes))])
    total = np.add.reduce(sums)
    threads.run(
        lambda k0, k1: transform_weight_grad(total[:, :, k0:k1], m, dw[k0:k1]), spans(c.K, max(16, -(-c.K // UNITS)))
    )


def grad_by_stages(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, c: Correlation, m: int) -> None:
    """`weight_grad` where the transformed weights are large; arrays without the axis of groups.

    All threads transform a stage of tiles, then share out its products, then transform their sums and add to dw.
    """
    n = m + 2
    of_x, of_dy = Transform.of_input(m, c.origin), Transform.of_gradient(m)
    rows = spans(c.K, WEIGHT_BYTES // 2 // (n * n * c.C * FLOAT32.itemsize))
    widest = max(k1 - k0 for k0, k1 in rows)
    most = STAGE_BYTES // (n * n * (c.C + widest) * FLOAT32.itemsize)
    dw[...] = 0
    for stage in _stages(blocks_of(c, m, TILES // 4), most):
        tiles = stage[-1].stop
        inputs = tile_planes(np.empty(planes(n, tiles, c.C), FLOAT32), n, tiles, c.C)
        _transform_all(of_x, x, stage, inputs)
        for k0, k1 in rows:
            gradients = tile_planes(np.empty(planes(n, tiles, k1 - k0), FLOAT32), n, tiles, k1 - k0)
            _transform_all(of_dy, dy[:, k0:k1], stage, gradients)
            _add_sums(gradients, inputs, dw[k0:k1], m)


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
        (rows,) = threads.scratch(FLOAT32, row_shape(t, block, x.shape[1]))
        transform(t, x, block, rows, out[:, :, start:stop])

    threads.run(work, stage)


def _add_sums(gradients: np.ndarray, inputs: np.ndarray, dw: np.ndarray, m: int) -> None:
    """Add the share of transformed gradients (n, n, tiles, K) and inputs (n, n, tiles, C) to dw (K, C, 3, 3)."""
    n, k, channels = m + 2, gradients.shape[3], inputs.shape[3]
    sums = tile_planes(np.empty(planes(n, k, channels), FLOAT32), n, k, channels)
    positions = [(i, j) for i in range(n) for j in range(n)]
    threads.run(lambda i, j: np.matmul(gradients[i, j].T, inputs[i, j], out=sums[i, j]), positions)

    def work(k0: int, k1: int) -> None:
        (term,) = threads.scratch(FLOAT32, (k1 - k0, *dw.shape[1:]))
        transform_weight_grad(sums[:, :, k0:k1], m, term)
        dw[k0:k1] += term

    threads.run(work, spans(k, max(16, -(-k // UNITS))))


def transform_weight_grad(sums: np.ndarray, m: int, dw: np.ndarray) -> None:
    """A'ᵀ M A': sums (n, n, K, C) to dw (K, C, 3, 3)."""
    a = matrices(3, m)[0]
    n, (k, c) = a.shape[1], sums.shape[2:]
    np.matmul(sums.reshape(n * n, k, c).transpose(1, 2, 0), _float32(np.kron(a, a).T), out=dw.reshape(k, c, 9))
