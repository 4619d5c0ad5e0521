"""Depthwise convolution (one input channel per group) and its gradients without matrix products: one multiply-add of
whole planes per tap, over a few planes at a time that stay in cache.

Planes are copied with their padding and, for a stride, split into phases, so that the elements under one tap of all
windows are one contiguous run. Between the windows of one row and the next a run holds a few positions that belong to
no window; they are computed and dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import Pair
from ..geometry import Conv2dGeometry
from . import threads
from .correlation import UNITS, spans
from .im2col import sum_dtype
from .phases import copy_inside, copy_padded, tap_run

BLOCK_BYTES = 256 << 10  # of one block's sums


class Planes:
    """The extents of padded planes whose windows are `windows` rows of Q, split into phases of the stride."""

    def __init__(self, g: Conv2dGeometry, windows: int, least: Pair = (0, 0)) -> None:
        """least: rows and columns of the padded planes that must be there in any case."""
        self.g = g
        (sh, sw), (dh, dw) = g.stride, g.dilation
        self.width = max(g.Q + (g.S - 1) * dw // sw, -(-least[1] // sw))
        self.rows = max(windows + (g.R - 1) * dh // sh, -(-least[0] // sh)) + 1  # the last run ends in the row after
        self.length = windows * self.width
        self.shape = sh, sw, self.rows, self.width

    def each_tap(self, planes: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
        """Every tap r, s with its run in planes (..., sh, sw, rows, width)."""
        g = self.g
        flat = planes.reshape(*planes.shape[:-2], self.rows * self.width)
        return [
            (r, s, tap_run(flat, r * g.dilation[0], s * g.dilation[1], g.stride, self.width, self.length))
            for r in range(g.R)
            for s in range(g.S)
        ]


def _run(work: Callable[..., Any], g: Conv2dGeometry, lines: int, line_bytes: int) -> None:
    """Call work(images, channels, rows) for blocks of planes of `lines` rows that take about BLOCK_BYTES."""
    planes = max(1, BLOCK_BYTES // (line_bytes * lines))
    blocks = [
        (images, channels, rows)
        for images in spans(g.N, planes // g.C)
        for channels in spans(g.C, min(planes, -(-g.C * g.N // UNITS)))
        for rows in spans(lines, BLOCK_BYTES // line_bytes)
    ]
    threads.run(work, blocks)


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, g: Conv2dGeometry) -> None:
    """Fill y (N, C, M, P, Q) from x (N, C, H, W), w (C, M, R, S) and b (C, M) or None, of any strides."""
    acc = sum_dtype(x)
    w = w.astype(acc)[..., None]
    b = None if b is None else b.astype(acc)[..., None]

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (p0, p1) = images, channels, rows
        extents = Planes(g, p1 - p0)
        outer = n1 - n0, c1 - c0
        sums_shape = *outer, w.shape[1], extents.length
        planes, sums, term = threads.scratch(acc, (*outer, *extents.shape), sums_shape, sums_shape)
        copy_padded(x[n0:n1, c0:c1], planes, (p0 * g.stride[0] - g.padding[0][0], -g.padding[1][0]))
        for r, s, run in extents.each_tap(planes):
            np.multiply(run[:, :, None], w[c0:c1, :, r, s], out=term if r or s else sums)
            if r or s:
                sums += term
        if b is not None:
            sums += b[c0:c1]
        y[n0:n1, c0:c1, :, p0:p1] = sums.reshape(*outer, w.shape[1], p1 - p0, extents.width)[..., : g.Q]

    _run(work, g, g.P, w.shape[1] * (g.Q + g.S) * acc.itemsize)


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Conv2dGeometry) -> None:
    """Fill dx (N, C, H, W) from dy (N, C, M, P, Q), w (C, M, R, S) and b (C,) or None, of any strides."""
    acc = sum_dtype(dy)
    w = w.astype(acc)[..., None]
    sh, top = g.stride[0], g.padding[0][0]

    def work(images: Pair, channels: Pair, rows: Pair) -> None:
        (n0, n1), (c0, c1), (h0, h1) = images, channels, rows
        first = max(0, min((h0 + top) // sh, -(-(h0 + top - (g.R - 1) * g.dilation[0]) // sh)))
        last = max(first, min(g.P, (h1 - 1 + top) // sh + 1))
        start = h0 + top - first * sh
        extents = Planes(g, last - first, (start + h1 - h0, g.padding[1][0] + g.W))
        outer = n1 - n0, c1 - c0
        gradients_shape = *outer, w.shape[1], last - first, extents.width
        sums, gradients, term = threads.scratch(
            acc, (*outer, *extents.shape), gradients_shape, (*outer, extents.length)
        )
        sums[...] = 0 if b is None else b[c0:c1, None, None, None, None]
        gradients[..., : g.Q] = dy[n0:n1, c0:c1, :, first:last]
        gradients[..., g.Q :] = 0
        flat = gradients.reshape(*outer, w.shape[1], extents.length)
        for r, s, run in extents.each_tap(sums):
            for j in range(w.shape[1]):
                np.multiply(flat[:, :, j], w[c0:c1, j, r, s], out=term)
                run += term
        copy_inside(sums, dx[n0:n1, c0:c1, h0:h1], (start, g.padding[1][0]))

    _run(work, g, g.H, (g.W + g.S) * acc.itemsize)


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, g: Conv2dGeometry) -> None:
    """Fill dw (C, M, R, S) from dy (N, C, M, P, Q) and x (N, C, H, W), of any strides.

    A unit of work is a few channels, whose blocks are added in order.
    """
    acc = sum_dtype(x)
    m = dw.shape[1]
    line_bytes = m * (g.Q + g.S) * acc.itemsize
    channels_each = max(1, min(-(-g.C // UNITS), BLOCK_BYTES // (line_bytes * g.P)))
    images = spans(g.N, BLOCK_BYTES // (line_bytes * g.P * channels_each))
    rows = spans(g.P, BLOCK_BYTES // line_bytes)

    def work(c0: int, c1: int) -> None:
        total = np.zeros((c1 - c0, m, g.R, g.S), acc)
        for n0, n1 in images:
            for p0, p1 in rows:
                extents = Planes(g, p1 - p0)
                outer = n1 - n0, c1 - c0
                planes, gradients = threads.scratch(
                    acc, (*outer, *extents.shape), (*outer, m, p1 - p0, extents.width)
                )
                copy_padded(x[n0:n1, c0:c1], planes, (p0 * g.stride[0] - g.padding[0][0], -g.padding[1][0]))
                gradients[..., : g.Q] = dy[n0:n1, c0:c1, :, p0:p1]
                gradients[..., g.Q :] = 0
                flat = gradients.reshape(*outer, m, extents.length)
                for r, s, run in extents.each_tap(planes):
                    total[..., r, s] += np.vecdot(flat, run[:, :, None]).sum(axis=0)
        dw[c0:c1] = total

    threads.run(work, spans(g.C, channels_each))
