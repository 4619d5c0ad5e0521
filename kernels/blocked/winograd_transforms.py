"""The transforms of Winograd / Toom-Cook minimal filtering (winograd.py) as matrix products.

Along W a banded matrix transforms whole rows of tiles, reads them from the unpadded input and puts channels last;
along H the small matrix works on whole rows of tiles. On the way back it is the other way round, and the last product
writes into the output where it lies. With a dilation, the tiles of all residue classes stand side by side.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..checks import Pair
from .correlation import UNITS, Correlation, even_spans, spans

FLOAT32 = np.dtype(np.float32)
POINTS = {4: (0.0, 1.0, -1.0), 6: (0.0, 0.75, -0.75, 1.5, -1.5)}  # by n; infinity is the last
TILE_COLUMNS = 8  # more would make the banded matrices mostly zeros
FEW_TILES = 56  # an image with fewer shares its block with others


@lru_cache
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ (m, n), G (n, r) and Bᵀ (n, n) of F(m, r), n = m + r - 1, in float64.

    Toom-Cook: powers of each point a_j, over prod(a_j - a_l) in G, and the interpolating polynomials' coefficients.
    """
    n = m + r - 1
    a, g, b = np.zeros((n, m)), np.zeros((n, r)), np.zeros((n, n))
    for j, point in enumerate(POINTS[n]):
        others = np.delete(POINTS[n], j)
        a[j] = point ** np.arange(m)
        g[j] = point ** np.arange(r) / np.prod(point - others)
        b[j, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(POINTS[n])[::-1]
    return a.T, g, b


def _float32(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix, FLOAT32)


class Filter(NamedTuple):
    """F(m x m, r x r), of windows with a dilation."""

    m: int
    r: int
    dilation: tuple[int, ...]

    @property
    def n(self) -> int:
        """Rows and columns of a transformed tile."""
        return self.m + self.r - 1

    @property
    def step(self) -> Pair:
        """Output rows and columns that one tile of every residue class covers together."""
        return self.m * self.dilation[0], self.m * self.dilation[1]


class Tiles(NamedTuple):
    """A block: images n0:n1, and `each` tiles (one per residue class) in each of rows i0:i1 and columns j0:j1."""

    n0: int
    n1: int
    i0: int
    i1: int
    j0: int
    j1: int
    each: int

    @property
    def extents(self) -> tuple[int, int, int]:
        return self.n1 - self.n0, self.i1 - self.i0, self.j1 - self.j0

    @property
    def total(self) -> int:
        n, i, j = self.extents
        return n * i * j * self.each

    def of_output(self, y: np.ndarray, f: Filter) -> np.ndarray:
        """The block's part of y (N, K, P, Q)."""
        (sh, sw) = f.step
        return y[self.n0 : self.n1, :, self.i0 * sh : self.i1 * sh, self.j0 * sw : self.j1 * sw]


def blocks_of(c: Correlation, f: Filter, most: int) -> list[Tiles]:
    """Cover the output with blocks of at most about `most` tiles, by shape alone."""
    each = f.dilation[0] * f.dilation[1]
    most = max(1, most // each)
    rows, columns = -(-c.P // f.step[0]), -(-c.Q // f.step[1])
    columns_each = max(1, min(columns, TILE_COLUMNS // f.dilation[1], most))
    rows_each = min(rows, max(1, most // columns_each))
    images = c.N if rows * columns * each < FEW_TILES else -(-c.N // UNITS)
    return [
        Tiles(*some_images, *lines, *some, each)
        for some_images in even_spans(c.N, max(1, min(most // (rows_each * columns), images)))
        for lines in spans(rows, rows_each)
        for some in spans(columns, columns_each)
    ]


def planes(n: int, rows: int, columns: int) -> tuple[int, ...]:
    """Shape of `tile_planes`' memory: the planes keep a distance that does not map them onto the same cache sets."""
    return n * n, rows * columns + 272


def tile_planes(memory: np.ndarray, n: int, rows: int, columns: int) -> np.ndarray:
    """(n, n, rows, columns) in memory of shape `planes`."""
    return memory[:, : rows * columns].reshape(n, n, rows, columns)


class Transform(NamedTuple):
    """A matrix (n, extent) for tiles of `extent` inputs, one every m, from `origin` before the first input on."""

    matrix: np.ndarray
    filter: Filter
    origin: Pair

    @classmethod
    def of_input(cls, f: Filter, origin: Pair) -> Transform:
        return cls(_float32(matrices(f.m, f.r)[2]), f, origin)

    @classmethod
    def of_gradient(cls, f: Filter) -> Transform:
        return cls(_float32(matrices(f.r, f.m)[1]), f, (0, 0))

    def row_shape(self, block: Tiles, channels: int) -> tuple[int, ...]:
        """(images, rows, n, tile columns, channels): a block transformed along W only."""
        images, lines, columns = block.extents
        n, extent = self.matrix.shape
        (dh, dw), m = self.filter.dilation, self.filter.m
        return images, ((lines - 1) * m + extent) * dh, n, columns * dw, channels

    def __call__(self, x: np.ndarray, block: Tiles, rows: np.ndarray, out: np.ndarray) -> None:
        """Both one-dimensional transforms of a block's tiles: x (N, C, H, W) to out (n, n, tiles, C).

        rows: scratch of row_shape. Tiles may reach outside x, where it counts as 0.
        """
        (images, lines, columns), (n, extent), channels = block.extents, self.matrix.shape, x.shape[1]
        (sh, sw), (dh, dw) = self.filter.step, self.filter.dilation
        top, height = block.i0 * sh - self.origin[0], rows.shape[1]
        h0, h1 = min(max(0, -top), height), max(0, min(height, x.shape[2] - top))
        start = block.j0 * sw - self.origin[1]
        band, (w0, w1) = _band(self.matrix.tobytes(), self.filter, x.shape[3], start, columns)
        rows[:, :h0] = 0
        rows[:, h1:] = 0
        if h0 < h1:
            part = x[block.n0 : block.n1, :, top + h0 : top + h1, w0:w1].transpose(0, 2, 3, 1)
            np.matmul(band, part, out=rows[:, h0:h1].reshape(images, h1 - h0, len(band), channels))
        step_n, step_h, step_w = rows.strides[:3]
        run = columns * dw * channels
        strides = step_n, sh * step_h, step_h, step_w, dh * step_h, rows.itemsize
        overlapping = as_strided(rows, (images, lines, dh, n, extent, run), strides)
        target = out.reshape(n, n, images, lines, dh, run).transpose(2, 3, 4, 1, 0, 5)
        np.matmul(self.matrix, overlapping, out=target)


@lru_cache(256)
def _band(matrix: bytes, f: Filter, extent: int, start: int, columns: int) -> tuple[np.ndarray, Pair]:
    """One matrix (n * columns * dw, high - low) that transforms a row of tiles from inputs low:high; and (low, high).

    The tile of residue class b in column j reads every dw-th input from start + j*m*dw + b on; what lies outside
    range(extent) is padding and left out.
    """
    small = np.frombuffer(matrix, FLOAT32).reshape(f.n, -1)
    d = f.dilation[1]
    width = ((columns - 1) * f.m + small.shape[1]) * d
    band = np.zeros((f.n, columns, d, width), FLOAT32)
    for j in range(columns):
        for b in range(d):
            first = j * f.m * d + b
            band[:, j, b, first : first + (small.shape[1] - 1) * d + 1 : d] = small
    low, high = min(max(start, 0), extent), max(0, min(start + width, extent))
    return np.ascontiguousarray(band.reshape(-1, width)[:, low - start : high - start]), (low, high)


def transform_weights(w: np.ndarray, f: Filter, out: np.ndarray) -> None:
    """G w Gᵀ: w (K, C, r, r), possibly with both kernel axes turned round, to out (n, n, C, K)."""
    g = matrices(f.m, f.r)[1]
    kernel = np.kron(g, g)
    if w.strides[2] < 0 and w.strides[3] < 0:
        w, kernel = w[..., ::-1, ::-1], kernel[:, ::-1]
    target = out.reshape(len(kernel), *out.shape[2:]).transpose(1, 0, 2)
    np.matmul(_float32(kernel), w.reshape(*w.shape[:2], f.r**2).transpose(1, 2, 0), out=target)


def transform_weight_grad(sums: np.ndarray, f: Filter, dw: np.ndarray) -> None:
    """A'ᵀ M A': sums (n, n, K, C) to dw (K, C, r, r)."""
    a = matrices(f.r, f.m)[0]
    k, c = sums.shape[2:]
    out = dw.reshape(k, c, f.r**2)
    np.matmul(sums.reshape(f.n**2, k, c).transpose(1, 2, 0), _float32(np.kron(a, a).T), out=out)


def output_row_shape(f: Filter, block: Tiles, channels: int) -> tuple[int, ...]:
    """(images, output rows, n, tile columns, channels): a block transformed back along H only."""
    images, lines, columns = block.extents
    return images, lines * f.step[0], f.n, columns * f.dilation[1], channels


def transform_output(products: np.ndarray, f: Filter, block: Tiles, rows: np.ndarray, y: np.ndarray) -> None:
    """Aᵀ M A: products (n, n, tiles, K) into the block's part of y (N, K, P, Q). rows: scratch of output_row_shape."""
    (images, lines, columns), k, a = block.extents, products.shape[3], _float32(matrices(f.m, f.r)[0])
    dh, run = f.dilation[0], columns * f.dilation[1] * k
    source = products.reshape(f.n, f.n, images, lines, dh, run).transpose(2, 3, 4, 1, 0, 5)
    np.matmul(a, source, out=rows.reshape(images, lines, f.m, dh, f.n, run).transpose(0, 1, 3, 4, 2, 5))
    target = block.of_output(y, f)
    transposed = rows.reshape(images, lines * f.step[0], -1, k)[:, : target.shape[2]].transpose(0, 1, 3, 2)
    np.matmul(transposed, _output_band(f, columns, target.shape[3]), out=target.transpose(0, 2, 1, 3))


@lru_cache(256)
def _output_band(f: Filter, columns: int, kept: int) -> np.ndarray:
    """A of a row of tiles as one matrix (n * columns * dw, kept) to the first `kept` of their outputs."""
    a, d = matrices(f.m, f.r)[0], f.dilation[1]
    band = np.zeros((f.n, columns, d, columns * f.m * d))
    for j in range(columns):
        for b in range(d):
            first = j * f.m * d + b
            band[:, j, b, first : first + (f.m - 1) * d + 1 : d] = a.T
    return _float32(band.reshape(f.n * columns * d, -1)[:, :kept])
