"""Convolution, and each class of an input gradient, as products in place: a tile of results stays in registers while
the taps go by, each an offset into the laid-out source. No columns are built.

Results between the rows of a run are computed and dropped. A result is one chain of multiply-adds for every DEPTH
products, in an order that depends on its channels and taps alone.
"""

from __future__ import annotations

import math

import numpy as np

from .blocks import WORTH, over_blocks
from .compiled import compiled, contiguous
from .layout import Correlation, Layout, layout_of
from .planes import lay_out, put_row
from .vectors import ROWS, VECTORS, lanes, make_tile

DEPTH = 288  # products in a chain: the weights of a tile stay in the first cache
PACKED = 1 << 21  # weights that are rearranged at a time
FEW, LINE = 4, 8  # rows of a tile for few results, and their vectors; vectors of a lone result

_tile1, _tile2, _tile3 = make_tile(ROWS, 1), make_tile(ROWS, 2), make_tile(ROWS, VECTORS)
_few1, _few4 = make_tile(FEW, 1), make_tile(FEW, FEW)
_line1, _line8 = make_tile(1, 1), make_tile(1, LINE)


def rows_of(results: int) -> int:
    """Of a tile, for so many results of a group."""
    return 1 if results == 1 else FEW if results <= FEW else ROWS


def correlate(
    src: np.ndarray, w: np.ndarray, bias: np.ndarray | None, dst: np.ndarray, c: Correlation, transposed: bool
) -> None:
    """dst (N, G*K, ...) at the correlation's positions = bias (G*K,) plus its products of src (N, G*C, ...).

    w: (G*K, C, *taps), or, transposed, (G*C, K, *taps).
    """
    bias = np.zeros(dst.shape[1], dst.dtype) if bias is None else contiguous(bias.reshape(-1))[0]
    if not all(axis.taps for axis in c.axes) or not c.C:
        d, h, v = (slice(line.first, None, line.step) for line in c.lines)
        with_three_axes(dst)[:, :, d, h, v] = bias[:, None, None, None]
        return
    layout, rows = layout_of(c, src.dtype), rows_of(c.K)
    tiles = -(-c.K // rows)
    most = max(1, PACKED // (len(layout.offsets) * rows * c.G))
    src, w, dst = with_three_axes(src), w.reshape(-1), with_three_axes(dst)
    for first in range(0, tiles, most):
        _correlate(src, w, bias, dst, c, layout, transposed, first, min(tiles, first + most))


def _correlate(
    src: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    dst: np.ndarray,
    c: Correlation,
    at: Layout,
    transposed: bool,
    first: int,
    end: int,
) -> None:
    """For the tiles first:end of each group's results."""
    rows = rows_of(c.K)
    packed = np.empty((c.G, end - first, len(at.offsets), rows), src.dtype)
    kernel = math.prod(c.kernel_size)
    step_k, step_c = (kernel, c.K * kernel) if transposed else (c.C * kernel, kernel)
    _pack(w, packed, at.weights, c.C, c.K, first, step_k, step_c, c.C * c.K * kernel)
    vector = lanes(src.dtype)

    def work(low: int, high: int, run: np.ndarray, results: np.ndarray) -> None:
        _blocks(
            src, packed, bias, dst, at.offsets, c.C, c.K, first, at.windows, at.block, at.steps, at.origins, at.phases,
            at.extents, at.places, run, results, vector, low, high,
        )  # fmt: skip

    over_blocks(work, at.blocks, c.flops > WORTH, src.dtype, at.run, rows * at.ld)


def with_three_axes(a: np.ndarray) -> np.ndarray:
    """(N, C, D, H, W), where D and H may be 1."""
    return a.reshape(*a.shape[:2], *(1 for _ in range(5 - a.ndim)), *a.shape[2:])


@compiled
def _pack(w, packed, places, C, K, first, step_k, step_c, step_g):
    """packed[g, tile, (c, tap), row] for rows of `first` tile and on; those past K are 0."""
    G, tiles, _, rows = packed.shape
    for g in range(G):
        for tile in range(tiles):
            k0 = (first + tile) * rows
            width = min(rows, K - k0)
            for c in range(C):
                for j in range(len(places)):
                    at = g * step_g + k0 * step_k + c * step_c + places[j]
                    row = packed[g, tile, c * len(places) + j]
                    for k in range(width):
                        row[k] = w[at + k * step_k]
                    for k in range(width, rows):
                        row[k] = 0


@compiled
def _blocks(
    src, packed, bias, dst, offsets, C, K, first, windows, block, steps, origins, phases, extents, places, run, results,
    lanes, low, high,
):  # fmt: skip
    """For blocks low:high, of images, depths and rows of windows."""
    N, G, tiles = len(src), packed.shape[0], packed.shape[1]
    tall = packed.shape[3]
    ld = results.size // tall
    blocks_z, blocks_p = -(-windows[0] // block[1]), -(-windows[1] // block[2])
    flat = dst.reshape(-1)
    for u in range(low, high):
        n0, z0, p0 = u // (blocks_z * blocks_p) * block[0], u // blocks_p % blocks_z * block[1], u % blocks_p * block[2]
        images, depths, rows = min(block[0], N - n0), min(block[1], windows[0] - z0), min(block[2], windows[1] - p0)
        corner = origins[0] + z0 * steps[0], origins[1] + p0 * steps[1], origins[2]
        length = (((images - 1) * extents[0] + depths - 1) * extents[1] + rows - 1) * extents[2] + windows[2]
        for g in range(G):
            lay_out(src, run, n0, block[0], g * C, C, steps, corner, phases, extents)
            for tile in range(tiles):
                _multiply(run, packed[g, tile], offsets, results, ld, length, lanes)
                for row in range(min(tall, K - (first + tile) * tall)):
                    k = g * K + (first + tile) * tall + row
                    for image in range(images):
                        for z in range(depths):
                            for p in range(rows):
                                plane = ((n0 + image) * dst.shape[1] + k) * dst.shape[2]
                                line = (plane + (z0 + z) * places[0][1] + places[0][0]) * dst.shape[3]
                                line = (line + (p0 + p) * places[1][1] + places[1][0]) * dst.shape[4] + places[2][0]
                                at = row * ld + ((image * extents[0] + z) * extents[1] + p) * extents[2]
                                put_row(flat, line, places[2][1], results, at, windows[2], bias[k])


@compiled
def _multiply(run, weights, offsets, results, ld, length, lanes):
    """results[row, position] = sum over products of weights[product, row] * run[offset of the product + position]."""
    rows, flat = weights.shape[1], weights.reshape(-1)
    for first in range(0, offsets.size, DEPTH):
        depth = min(DEPTH, offsets.size - first)
        q = 0
        while q < length:
            left = -(-(length - q) // lanes)
            at = first * rows
            if rows == ROWS and left > 2 and VECTORS == 3:
                _tile3(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += 3 * lanes
            elif rows == ROWS and left > 1:
                _tile2(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += 2 * lanes
            elif rows == ROWS:
                _tile1(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += lanes
            elif rows == FEW and left >= FEW:
                _few4(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += FEW * lanes
            elif rows == FEW:
                _few1(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += lanes
            elif left > LINE // 2:
                _line8(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += LINE * lanes
            else:
                _line1(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
                q += lanes
