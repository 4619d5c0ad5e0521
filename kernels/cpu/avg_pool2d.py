"""Average pooling and its gradient: sums along W, then along H, and one division."""

from __future__ import annotations

import numpy as np

from ..checks import Pair
from ..geometry import AvgDivisor, Pool2dGeometry
from . import threads
from .im2col import sum_dtype
from .planes import Planes, copy_inside, copy_padded, gradient_rows, plane_blocks


def avg_pool2d(x: np.ndarray, geometry: Pool2dGeometry, divisor: AvgDivisor) -> np.ndarray:
    g = geometry
    acc = sum_dtype(x)
    y = np.empty(g.y_shape, x.dtype)
    rows_divisor, columns_divisor = (counts.astype(acc) for counts in divisor.counts(g))

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (p0, p1) = images, channels, rows
        extents = Planes(g, p1 - p0)
        outer = n1 - n0, c1 - c0
        planes, columns, sums = threads.scratch(
            acc, (*outer, *extents.shape), (*outer, g.stride[0], extents.run), (*outer, extents.length)
        )
        copy_padded(x[n0:n1, c0:c1], planes, (p0 * g.stride[0] - g.padding[0][0], -g.padding[1][0]))
        np.copyto(columns, extents.column_run(planes, 0))
        for s in range(1, g.S):
            columns += extents.column_run(planes, s)
        np.copyto(sums, extents.row_run(columns, 0))
        for r in range(1, g.R):
            sums += extents.row_run(columns, r)
        totals = sums.reshape(*outer, p1 - p0, extents.width)[..., : g.Q]
        y[n0:n1, c0:c1, p0:p1] = totals / (rows_divisor[p0:p1, None] * columns_divisor)

    threads.run(work, plane_blocks(g.N, g.C, g.P, (g.Q + g.S) * max(g.stride) * acc.itemsize))
    return y


def avg_pool2d_grad(dy: np.ndarray, geometry: Pool2dGeometry, divisor: AvgDivisor) -> np.ndarray:
    g = geometry
    acc = sum_dtype(dy)
    dx = np.empty(g.x_shape, dy.dtype)
    rows_divisor, columns_divisor = (counts.astype(acc) for counts in divisor.counts(g))

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (h0, h1) = images, channels, rows
        (p0, p1), start = gradient_rows(g, h0, h1)
        extents = Planes(g, p1 - p0, (start + h1 - h0, g.padding[1][0] + g.W))
        outer = n1 - n0, c1 - c0
        planes, columns, shares = threads.scratch(
            acc, (*outer, *extents.shape), (*outer, g.stride[0], extents.run), (*outer, p1 - p0, extents.width)
        )
        shares[..., g.Q :] = 0
        np.divide(dy[n0:n1, c0:c1, p0:p1], rows_divisor[p0:p1, None] * columns_divisor, out=shares[..., : g.Q])
        columns[...] = 0
        for r in range(g.R):
            row = extents.row_run(columns, r)
            row += shares.reshape(row.shape)
        planes[...] = 0
        for s in range(g.S):
            column = extents.column_run(planes, s)
            column += columns
        copy_inside(planes, dx[n0:n1, c0:c1, h0:h1], (start, g.padding[1][0]))

    threads.run(work, plane_blocks(g.N, g.C, g.H, (g.W + g.S) * acc.itemsize))
    return dx
