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

TAPS_BYTES = 2 << 20  # of one product
PLANE_BYTES = 2 << 20  # of the planes that one unit of work adds into
LONG = 4096  # elements that make one addition worth its call


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Conv2dGeometry) -> None:
    """Fill dx (N, G, C, H, W) from dy (N, G, K, P, Q), w (G, K, C, R, S) and b (G, C) or None.

    A unit of work is one image and a few channels, whose sums are kept apart by position modulo the stride, so that
    every addition runs over neighbouring elements. One product gives some kernel rows of some window rows.
    """
    acc = sum_dtype(dy)
    (sh, sw), (dh, dw) = g.stride, g.dilation
    c, k = w.shape[2], w.shape[1]
    height = max(g.P + (g.R - 1) * dh // sh, -(-(g.H + g.padding[0][0]) // sh))
    width = max(g.Q + (g.S - 1) * dw // sw, -(-(g.W + g.padding[1][0]) // sw))
    channels = max(1, min(PLANE_BYTES // (sh * sw * height * width * acc.itemsize), -(-c * g.N * g.groups // UNITS)))
    line_bytes = channels * g.S * g.Q * acc.itemsize
    lines = min(g.P, max(1, TAPS_BYTES // (line_bytes * g.R), LONG // (channels * g.Q)))
    kernel_rows = max(1, min(g.R, TAPS_BYTES // (line_bytes * lines)))

    def work(n: int, group: int, some: Pair) -> None:
        rows = some[1] - some[0]
        sums, product, part = threads.scratch(
            acc, (rows, sh, sw, height, width), (rows * kernel_rows * g.S * lines * g.Q,), (k * lines * g.Q,)
        )
        sums[...] = 0 if b is None else b[group, slice(*some), None, None, None, None]
        for p0, p1 in spans(g.P, lines):
            source = part[: k * (p1 - p0) * g.Q].reshape(k, p1 - p0, g.Q)
            source[...] = dy[n, group, :, p0:p1]
            for r0, r1 in spans(g.R, kernel_rows):
                weights = w[group, :, slice(*some), r0:r1].astype(acc, copy=False).reshape(k, -1)
                taps = product[: weights.shape[1] * (p1 - p0) * g.Q].reshape(rows, r1 - r0, g.S, p1 - p0, g.Q)
                np.matmul(weights.T, source.reshape(k, -1), out=taps.reshape(weights.shape[1], -1))
                for r, s in np.ndindex(r1 - r0, g.S):
                    (h, phase), (v, column_phase) = divmod((r0 + r) * dh, sh), divmod(s * dw, sw)
                    target = sums[:, phase, column_phase, p0 + h : p1 + h, v : v + g.Q]
                    target += taps[:, r, s]
        copy_inside(sums, dx[n, group, slice(*some)], (g.padding[0][0], g.padding[1][0]))

    some = spans(c, channels)
    threads.run(work, [(n, group, span) for n in range(g.N) for group in range(g.groups) for span in some])
