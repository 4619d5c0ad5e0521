"""dx as one product per block, whose rows are the taps of every window, then added tap by tap (col2im).

For few input channels or large kernels: the product stays wide where the correlation form has only C rows.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .correlation import UNITS, Correlation, spans
from .planes import Planes, copy_inside

TAPS_BYTES = 4 << 20  # of one product
SUMS_BYTES = 1 << 20  # of the planes that one unit of work adds into
LONG = 4096  # elements that make one addition worth its call


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Correlation) -> None:
    """Fill dx (N, G, C, H, W) from dy (N, G, K, P, Q), w (G, K, C, R, S) and b (G, C) or None.

    A unit of work is a few images and channels, whose sums are kept apart by position modulo the stride, so that every
    addition is one long run (planes.py). One product gives some kernel rows of some window rows.
    """
    acc = accumulation_dtype(dy.dtype)
    c, k = w.shape[2], w.shape[1]
    extents = Planes(g, g.P, (g.padding[0][0] + g.H, g.padding[1][0] + g.W))
    width = extents.width
    plane_bytes = extents.rows * width * g.stride[0] * g.stride[1] * acc.itemsize
    planes = max(1, SUMS_BYTES // plane_bytes)
    channels = max(1, min(c, planes, max(LONG // (g.P * width), -(-c * g.N * g.G // UNITS))))
    images = max(1, min(planes // channels, -(-g.N * g.G // UNITS)))
    line_bytes = images * channels * g.S * width * acc.itemsize
    lines = min(g.P, max(1, TAPS_BYTES // (line_bytes * g.R), LONG // (images * channels * width)))
    kernel_rows = max(1, min(g.R, TAPS_BYTES // (line_bytes * lines)))
    product_rows = channels * kernel_rows * g.S
    scratch = images * (channels * plane_bytes + (product_rows + k) * lines * width * acc.itemsize)

    def work(group: int, some_images: Pair, some: Pair) -> None:
        (n0, n1), (c0, c1) = some_images, some
        n, rows = n1 - n0, c1 - c0
        sums, product, part = threads.scratch(
            acc, (n, rows, *extents.shape), (rows * kernel_rows * g.S * n * lines * width,), (k * n * lines * width,)
        )
        sums[...] = 0 if b is None else b[group, c0:c1, None, None, None, None]
        flat = extents.flat(sums)
        for p0, p1 in spans(g.P, lines):
            run = (p1 - p0) * width
            source = part[: k * n * run].reshape(k, n, p1 - p0, width)
            source[..., : g.Q] = dy[n0:n1, group, :, p0:p1].swapaxes(0, 1)
            source[..., g.Q :] = 0
            for r0, r1 in spans(g.R, kernel_rows):
                weights = w[group, :, c0:c1, r0:r1].astype(acc, copy=False).reshape(k, -1)
                taps = product[: weights.shape[1] * n * run].reshape(rows, r1 - r0, g.S, n, run)
                np.matmul(weights.T, source.reshape(k, -1), out=taps.reshape(weights.shape[1], -1))
                for r, s in np.ndindex(r1 - r0, g.S):
                    target = extents.tap(flat, r0 + r, s, p0, run)
                    target += taps[:, r, s].swapaxes(0, 1)
        copy_inside(sums, dx[n0:n1, group, c0:c1], (g.padding[0][0], g.padding[1][0]))

    threads.run(
        work,
        [
            (group, some_images, some)
            for group in range(g.G)
            for some_images in spans(g.N, images)
            for some in spans(c, channels)
        ],
        scratch,
        threads.is_small(product_rows, k, images * lines * width),
    )
