"""Depthwise convolution (one input channel per group) and its gradients without matrix products: one multiply-add of
whole planes per tap, over a few planes at a time that stay in cache.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .correlation import Correlation, spans
from .lines import plane_blocks
from .planes import Planes, copy_inside, copy_padded, gradient_rows

BLOCK_BYTES = 1 << 20  # of dy, for dw
UNITS = 4  # blocks of a small problem: with more of them, calls of NumPy are too short to overlap on two threads


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, g: Correlation) -> None:
    """Fill y (N, C, M, P, Q) from x (N, C, H, W), w (C, M, R, S) and b (C, M) or None, of any strides."""
    acc = accumulation_dtype(x.dtype)
    w = w.astype(acc)[..., None]
    b = None if b is None else b.astype(acc)[..., None]

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (p0, p1) = images, channels, rows
        extents = Planes(g, p1 - p0)
        outer = n1 - n0, c1 - c0
        sums_shape = *outer, w.shape[1], extents.length
        planes, sums, term = threads.scratch(acc, (*outer, *extents.shape), sums_shape, sums_shape)
        copy_padded(x[n0:n1, c0:c1], planes, (p0 * g.stride[0] - g.padding[0][0], -g.padding[1][0]))
        for r, s, run in extents.taps(planes):
            np.multiply(run[:, :, None], w[c0:c1, :, r, s], out=term if r or s else sums)
            if r or s:
                sums += term
        if b is not None:
            sums += b[c0:c1]
        y[n0:n1, c0:c1, :, p0:p1] = sums.reshape(*outer, w.shape[1], p1 - p0, extents.width)[..., : g.Q]

    threads.run(work, plane_blocks(g.N, g.G, g.P, w.shape[1] * (g.Q + g.S) * acc.itemsize), alone=True)


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Correlation) -> None:
    """Fill dx (N, C, H, W) from dy (N, C, M, P, Q), w (C, M, R, S) and b (C,) or None, of any strides."""
    acc = accumulation_dtype(dy.dtype)
    w = w.astype(acc)[..., None]

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (h0, h1) = images, channels, rows
        (p0, p1), start = gradient_rows(g, h0, h1)
        extents = Planes(g, p1 - p0, (start + h1 - h0, g.padding[1][0] + g.W))
        outer = n1 - n0, c1 - c0
        gradients_shape = *outer, w.shape[1], p1 - p0, extents.width
        sums, gradients, term = threads.scratch(
            acc, (*outer, *extents.shape), gradients_shape, (*outer, extents.length)
        )
        sums[...] = 0 if b is None else b[c0:c1, None, None, None, None]
        gradients[..., : g.Q] = dy[n0:n1, c0:c1, :, p0:p1]
        gradients[..., g.Q :] = 0
        flat = gradients.reshape(*gradients_shape[:3], extents.length)
        for r, s, run in extents.taps(sums):
            for j in range(w.shape[1]):
                np.multiply(flat[:, :, j], w[c0:c1, j, r, s], out=term)
                run += term
        copy_inside(sums, dx[n0:n1, c0:c1, h0:h1], (start, g.padding[1][0]))

    threads.run(work, plane_blocks(g.N, g.G, g.H, (g.W + g.S) * acc.itemsize), alone=True)


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, g: Correlation) -> None:
    """Fill dw (C, M, R, S) from dy (N, C, M, P, Q) and x (N, C, H, W), of any strides.

    A unit of work is a few channels, whose blocks are added in order. The images of a block lie in one run per
    channel, so that each tap is one dot product; between windows the gradients are 0, which spoils dw where x is not
    finite.
    """
    acc = accumulation_dtype(x.dtype)
    m = dw.shape[1]
    line_bytes = m * (g.Q + g.S) * acc.itemsize
    channels_each = max(1, min(-(-g.G // UNITS), BLOCK_BYTES // (line_bytes * g.P)))
    images = spans(g.N, BLOCK_BYTES // (line_bytes * g.P * channels_each))
    rows = spans(g.P, BLOCK_BYTES // line_bytes)

    def work(c0: int, c1: int) -> None:
        total = np.zeros((c1 - c0, m, g.R, g.S), acc)
        for (n0, n1), (p0, p1) in product(images, rows):
            extents = Planes(g, p1 - p0)
            sh, sw, *plane = extents.shape
            planes, gradients = threads.scratch(acc, (c1 - c0, sh, sw, n1 - n0, *plane), (c1 - c0, m, n1 - n0, *plane))
            start = p0 * sh - g.padding[0][0], -g.padding[1][0]
            copy_padded(x[n0:n1, c0:c1], planes.transpose(3, 0, 1, 2, 4, 5), start)
            gradients[...] = 0
            gradients[..., : p1 - p0, : g.Q] = dy[n0:n1, c0:c1, :, p0:p1].transpose(1, 2, 0, 3, 4)
            flat, runs = gradients.reshape(c1 - c0, m, -1), planes.reshape(c1 - c0, sh, sw, -1)
            length = flat.shape[2] - extents.last_tap
            for r, s in np.ndindex(g.R, g.S):
                run = extents.tap(runs, r, s, 0, length)
                total[..., r, s] += np.vecdot(flat[..., :length], run[:, None])
        dw[c0:c1] = total

    threads.run(work, spans(g.G, channels_each))
