"""Blocks of output pixels whose columns (one per pixel, C*R*S long) fit a small buffer, and their gathering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..geometry import Conv2dGeometry

BLOCK_BYTES = 2 << 20


@dataclass(frozen=True)
class Block:
    """Images n0:n1, output rows p0:p1, output columns q0:q1."""

    n0: int
    n1: int
    p0: int
    p1: int
    q0: int
    q1: int

    @property
    def output(self) -> tuple[slice, slice, slice, slice]:
        """The block's part of an (N, K, P, Q) array."""
        return slice(self.n0, self.n1), slice(None), slice(self.p0, self.p1), slice(self.q0, self.q1)

    @property
    def extents(self) -> tuple[int, int, int]:
        return self.n1 - self.n0, self.p1 - self.p0, self.q1 - self.q0


def blocks(g: Conv2dGeometry, itemsize: int) -> Iterator[Block]:
    """Cover the output with blocks: whole images where they fit, else rows, else parts of a row."""
    pixels = max(1, BLOCK_BYTES // max(1, g.C * g.R * g.S * itemsize))
    columns = min(g.Q, pixels)
    rows = min(g.P, max(1, pixels // g.Q))
    images = max(1, pixels // (g.P * g.Q))
    for n in range(0, g.N, images):
        for p in range(0, g.P, rows):
            for q in range(0, g.Q, columns):
                yield Block(n, min(n + images, g.N), p, min(p + rows, g.P), q, min(q + columns, g.Q))


def padded_extents(g: Conv2dGeometry, block: Block) -> tuple[int, int]:
    """Rows and columns of the padded input that the block's windows span."""
    _, rows, columns = block.extents
    height = (rows - 1) * g.stride[0] + g.dilation[0] * (g.R - 1) + 1
    width = (columns - 1) * g.stride[1] + g.dilation[1] * (g.S - 1) + 1
    return height, width


def inside(g: Conv2dGeometry, block: Block) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the block's padded region overlaps the input: (slices of the region, slices of x) per axis."""
    height, width = padded_extents(g, block)
    region, source = [], []
    for start, extent, limit in (
        (block.p0 * g.stride[0] - g.padding[0][0], height, g.H),
        (block.q0 * g.stride[1] - g.padding[1][0], width, g.W),
    ):
        low, high = max(start, 0), max(min(start + extent, limit), max(start, 0))
        region.append(slice(low - start, high - start))
        source.append(slice(low, high))
    return (region[0], region[1]), (source[0], source[1])


def padded_input(x: np.ndarray, g: Conv2dGeometry, block: Block, dtype: np.dtype) -> np.ndarray:
    """The block's region of x with zeros where padding is, in the accumulation dtype."""
    images = block.n1 - block.n0
    padded = np.zeros((images, g.C, *padded_extents(g, block)), dtype=dtype)
    region, source = inside(g, block)
    padded[:, :, region[0], region[1]] = x[block.n0 : block.n1, :, source[0], source[1]]
    return padded


def windows(padded: np.ndarray, g: Conv2dGeometry, block: Block) -> np.ndarray:
    """A view (n, C, R, S, rows, columns) of a padded region: [..., r, s, p, q] is tap (r, s) of window (p, q)."""
    n, c, h, w = padded.strides
    _, rows, columns = block.extents
    shape = (padded.shape[0], g.C, g.R, g.S, rows, columns)
    strides = (n, c, h * g.dilation[0], w * g.dilation[1], h * g.stride[0], w * g.stride[1])
    return as_strided(padded, shape, strides)


def columns(x: np.ndarray, g: Conv2dGeometry, block: Block, dtype: np.dtype) -> np.ndarray:
    """im2col of the block: (n, groups, C/groups * R * S, rows * columns)."""
    n, rows, width = block.extents
    view = windows(padded_input(x, g, block, dtype), g, block)
    return view.reshape(n, g.groups, (g.C // g.groups) * g.R * g.S, rows * width)
