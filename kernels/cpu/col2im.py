"""dx as one product per block, whose rows are the taps of every window, then added tap by tap (col2im).

For few input channels or large kernels: the product stays wide where the correlation form has only C rows.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair
from ..geometry import Conv2dGeometry
from . import threads
from .correlation import UNITS, spans
from .im2col import sum_dtype
from .planes import copy_inside

TAPS_BYTES = 2 << 20  # of one block's product
PLANE_BYTES = 2 << 20  # of the planes that one unit of work adds into


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Conv2dGeometry) -> None:
    """Fill dx (N, G, C, H, W) from dy (N, G, K, P, Q), w (G, K, C, R, S) and b (G, C) or None.

    A unit of work is one image and a few channels, whose sums are kept apart by position modulo the stride, so that
    every addition runs over neighbouring elements.
    """
    acc = sum_dtype(dy)
    (sh, sw), (dh, dw) = g.stride, g.dilation
    c, k = w.shape[2], w.shape[1]
    height = max(g.P + (g.R - 1) * dh // sh, -(-(g.H + g.padding[0][0]) // sh))
    width = max(g.Q + (g.S - 1) * dw // sw, -(-(g.W + g.padding[1][0]) // sw))
    channels = max(1, min(PLANE_BYTES // (sh * sw * height * width * acc.itemsize), -(-c * g.N * g.groups // UNITS)))
    lines = max(1, TAPS_BYTES // (channels * g.R * g.S * g.Q * acc.itemsize))
    weights = np.ascontiguousarray(w.transpose(0, 2, 3, 4, 1), dtype=acc)

    def work(n: int, group: int, some: Pair) -> None:
        rows = some[1] - some[0]
        sums, product, part = threads.scratch(
            acc, (rows, sh, sw, height, width), (rows * g.R * g.S * lines * g.Q,), (k * lines * g.Q,)
        )
        sums[...] = 0 if b is None else b[group, slice(*some), None, None, None, None]
        matrix = weights[group, slice(*some)].reshape(-1, k)
        for p0, p1 in spans(g.P, lines):
            source = part[: k * (p1 - p0) * g.Q].reshape(k, p1 - p0, g.Q)
            source[...] = dy[n, group, :, p0:p1]
            taps = product[: len(matrix) * (p1 - p0) * g.Q].reshape(rows, g.R, g.S, p1 - p0, g.Q)
            np.matmul(matrix, source.reshape(k, -1), out=taps.reshape(len(matrix), -1))
            for r in range(g.R):
                for s in range(g.S):
                    h, v = p0 + r * dh // sh, s * dw // sw
                    sums[:, r * dh % sh, s * dw % sw, h : h + p1 - p0, v : v + g.Q] += taps[:, r, s]
        copy_inside(sums, dx[n, group, slice(*some)], (g.padding[0][0], g.padding[1][0]))

    some = spans(c, channels)
    threads.run(work, [(n, group, span) for n in range(g.N) for group in range(g.groups) for span in some])
