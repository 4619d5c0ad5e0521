"""Convolution, and an input gradient in classes of its strides, as products in place: a tile of results stays in
registers while the taps go by, each an offset into the laid-out source. No columns are built.

Results between the rows of a run are computed and dropped; those between its images are passed over, which takes a
fifth off the products of 6,14->16 5x5. A result is one chain of multiply-adds for every DEPTH products, in an order
that depends on its channels and taps alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .blocks import WORTH, over_blocks
from .compiled import compiled, contiguous
from .epilogue import kink_of
from .layout import Correlation, Layout, layout_of
from .planes import block_of, lay_out, put_classes
from .vectors import ROWS, VECTORS, lanes, make_tile

DEPTH = 288  # products in a chain: the weights of a tile stay in the first cache
PACKED = 1 << 21  # weights that are rearranged at a time
FEW, LINE = 3, 8  # rows of a tile for few results, and their vectors; vectors of a lone result

_tile1, _tile2, _tile3 = make_tile(ROWS, 1), make_tile(ROWS, 2), make_tile(ROWS, VECTORS)
_few1, _few3 = make_tile(FEW, 1), make_tile(FEW, FEW)
_line1, _line8 = make_tile(1, 1), make_tile(1, LINE)


def rows_of(results: int) -> int:
    """Of a tile, for so many results of a group."""
    return 1 if results == 1 else FEW if results <= FEW else ROWS


def correlate(
    src: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    dst: np.ndarray,
    c: Correlation,
    transposed: bool,
    activation: str | None = None,
) -> None:
    """dst (N, G*K, ...) at the correlation's positions = bias (G*K,) plus its products of src (N, G*C, ...), and what
    the activation makes of that.

    w: (G*K, C, *taps), or, transposed, (G*C, K, *taps).
    """
    bias = np.zeros(dst.shape[1], dst.dtype) if bias is None else contiguous(bias.reshape(-1))[0]
    layout, rows = layout_of(c, src.dtype), rows_of(c.K)
    tiles = -(-c.K // rows)
    most = max(1, PACKED // (max(1, len(layout.offsets)) * rows * c.G))
    src, w, dst = with_three_axes(src), w.reshape(-1), with_three_axes(dst)
    for first in range(0, tiles, most):
        some = first, min(tiles, first + most)
        _correlate(src, w, bias, kink_of(activation, src.dtype), dst, c, layout, transposed, *some)


def _correlate(
    src: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    kink: Any,
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
    _pack(w, packed, at.weights, at.ends, c.C, c.K, first, step_k, step_c, c.C * c.K * kernel)
    vector = lanes(src.dtype)

    def work(low: int, high: int, run: np.ndarray, results: np.ndarray) -> None:
        _blocks(src, packed, bias, kink, dst, at, c.C, c.K, first, run, results, vector, low, high)

    over_blocks(work, at.blocks, c.flops // WORTH, src.dtype, at.run, at.classes[2] * rows * at.ld)


def with_three_axes(a: np.ndarray) -> np.ndarray:
    """(N, C, D, H, W), where D and H may be 1."""
    return a.reshape(*a.shape[:2], *(1 for _ in range(5 - a.ndim)), *a.shape[2:])


@compiled
def _pack(w, packed, places, ends, C, K, first, step_k, step_c, step_g):
    """packed[g, tile, (class, c, tap), row] for rows of `first` tile and on; those past K are 0."""
    G, tiles, _, rows = packed.shape
    for g in range(G):
        for tile in range(tiles):
            k0 = (first + tile) * rows
            width, begin = min(rows, K - k0), 0
            for end in ends:
                for c in range(C):
                    for j in range(begin, end):
                        at = g * step_g + k0 * step_k + c * step_c + places[j]
                        row = packed[g, tile, begin * C + c * (end - begin) + j - begin]
                        for k in range(width):
                            row[k] = w[at + k * step_k]
                        for k in range(width, rows):
                            row[k] = 0
                begin = end


@compiled
def _blocks(src, packed, bias, kink, dst, at, C, K, first_tile, run, results, lanes, low, high):
    """For blocks low:high, of images, depths and rows of windows."""
    G, tiles, tall = packed.shape[0], packed.shape[1], packed.shape[3]
    classes, apart, zero = at.classes[2], tall * at.ld, src.dtype.type(0)
    for u in range(low, high):
        first, count, corner, length = block_of(at, u, len(src))
        plane = at.extents[0] * at.extents[1] * at.extents[2]
        used = length - (count[0] - 1) * plane
        for g in range(G):
            lay_out(src, run, zero, g == 0, first[0], at.block[0], g * C, C, at.steps, corner, at.phases, at.extents)
            for tile in range(tiles):
                k0, begin = (first_tile + tile) * tall, 0
                for number, end in enumerate(at.ends):
                    row, e = number // classes, number % classes
                    some, own = slice(begin * C, end * C), results[e * apart : (e + 1) * apart]
                    if begin == end:
                        own[:] = zero
                    multiply(run, packed[g, tile, some], at.offsets[some], own, at.ld, length, plane, used, lanes)
                    begin = end
                    if e == classes - 1:
                        for k in range(g * K + k0, g * K + min(k0 + tall, K)):
                            place = (k - g * K - k0) * at.ld
                            put_classes(dst, k, results, place, apart, at, row, first, count, bias[k], kink)


@compiled
def multiply(run, weights, offsets, results, ld, length, plane, used, lanes):
    """results[row, position] = sum over products of weights[product, row] * run[offset of the product + position], for
    the first `used` positions of every `plane`, and maybe for others."""
    rows, flat = weights.shape[1], weights.reshape(-1)
    for first in range(0, offsets.size, DEPTH):
        depth = min(DEPTH, offsets.size - first)
        at, q = first * rows, 0
        for start in range(0, length, plane):
            q, end = max(q, start), min(start + used, length)
            while q < end:
                left = -(-(end - q) // lanes)
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
                    _few3(run, q, offsets, first, flat, at, offsets, 0, offsets, 0, depth, results, q, ld, first)
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
