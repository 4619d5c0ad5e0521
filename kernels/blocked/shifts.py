"""Depthwise convolution at stride 1 along W of planes that keep their width, and its gradients, as products.

Kernel column s alone gives rows z[s, i, :] = sum over r of w[r, s] * x[i*stride + r*dilation - top, :]. For a few rows
that is a product with a banded matrix, which reads x where it lies, and y[i, q] = sum over s of
z[s, i, q + s*dilation - left]. With its rows one after the other, z[s] needs the same shift everywhere, once those
elements are 0 that a shift moves from one row to the next. The sum of shifted z is the product of a vector of ones with
a matrix whose rows are z[s], their distance longer by the dilation: no product takes a copy.

The weight gradient is the product of dy, shifted by every kernel column, with x, moved by whole rows.

All of these multiply much with 0. What that made NaN of infinities is computed again tap by tap; dw is left spoilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..checks import Pair
from ..cpu import threads
from . import depthwise
from .bands import diagonal
from .correlation import Correlation, spans
from .depthwise import UNITS
from .planes import overlap

ROWS = 14  # of the result in one product: more of them multiply more with 0
BLOCK_BYTES = 2 << 20  # of z: shorter calls of NumPy do not overlap on two threads
SHIFTED_BYTES = 4 << 20  # of dy
LEAST_BYTES = 128 << 10  # smaller blocks cost more to hand out than to compute


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, g: Correlation) -> None:
    """Fill y (N, C, P, W) from x (N, C, H, W), w (C, R, S) and b (C,) or None; rows of x and y are contiguous."""
    for n0, n1 in _multiply(x, w, b, y, g, g.padding[1], transposed=False):
        part = replace(g, N=n1 - n0)
        depthwise.correlate(x[n0:n1], w[:, None], None if b is None else b[:, None], y[n0:n1, :, None], part)


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Correlation) -> None:
    """Fill dx (N, C, H, W) from dy (N, C, P, W), w (C, R, S) and b (C,) or None; rows of dy and dx are contiguous."""
    for n0, n1 in _multiply(dy, w[:, :, ::-1], b, dx, g, g.padding[1][::-1], transposed=True):
        depthwise.input_grad(dy[n0:n1, :, None], w[:, None], b, dx[n0:n1], replace(g, N=n1 - n0))


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, g: Correlation) -> None:
    """Fill dw (C, R, S) from dy (N, C, P, W) and x (N, C, H, W), whose rows are contiguous; the stride is 1.

    A unit of work is a few channels, whose blocks are added in order.
    """
    line_bytes = g.S * g.W * x.itemsize
    channels = max(1, min(-(-g.G // UNITS), SHIFTED_BYTES // (line_bytes * g.P)))
    images = spans(g.N, SHIFTED_BYTES // (line_bytes * g.P * channels))
    rows = spans(g.P, SHIFTED_BYTES // line_bytes)

    def work(c0: int, c1: int) -> None:
        total = np.zeros((c1 - c0, g.R, g.S), x.dtype)
        for (n0, n1), (p0, p1) in product(images, rows):
            (shifted,) = threads.scratch(x.dtype, (n1 - n0, c1 - c0, g.S, p1 - p0, g.W))
            for s in range(g.S):
                _shift(dy[n0:n1, c0:c1, p0:p1], shifted[:, :, s], g.axes[1].position(0, s))
            for r in range(g.R):
                low, high, lines = overlap(g.axes[0].position(p0, r), p1 - p0, g.H, 1)
                if low < high:
                    gradients = shifted[:, :, :, low:high].reshape(*shifted.shape[:3], -1)
                    pixels = x[n0:n1, c0:c1, lines].reshape(*shifted.shape[:2], 1, -1)
                    total[:, r] += np.vecdot(gradients, pixels).sum(axis=0)
        dw[c0:c1] = total

    threads.run(work, spans(g.G, channels), scratch=SHIFTED_BYTES)


def _shift(rows: np.ndarray, shifted: np.ndarray, by: int) -> None:
    """shifted[..., w] = rows[..., w - by], or 0 where that is outside the row; rows (n, c, p, W) are contiguous."""
    source, target = rows.reshape(*rows.shape[:2], -1), shifted.reshape(*rows.shape[:2], -1)
    length = max(0, source.shape[-1] - abs(by))
    target[..., max(0, by) : max(0, by) + length] = source[..., max(0, -by) : max(0, -by) + length]
    _clear_moved(shifted, -by)


def _clear_moved(rows: np.ndarray, by: int) -> None:
    """Set those elements to 0 that leave their row (..., W) when all are moved `by` elements on."""
    if by > 0:
        rows[..., max(0, rows.shape[-1] - by) :] = 0
    elif by < 0:
        rows[..., :-by] = 0


class Tap(NamedTuple):
    """Where kernel row r takes part: rows i, i + step[0], ... of the result get j, j + step[1], ... of the input."""

    r: int
    i: int
    j: int
    windows: int


class Rows(NamedTuple):
    """Rows i0:i1 of the result and the rows j0:j1 that they are made of."""

    i0: int
    i1: int
    j0: int
    j1: int
    taps: list[Tap]


@lru_cache
def row_blocks(g: Correlation, transposed: bool) -> list[Rows]:
    """All rows of y, or (transposed) of dx."""
    found = []
    for i0, i1 in spans(g.H if transposed else g.P, ROWS):
        taps = list(_taps(g, transposed, i0, i1))
        step = 1 if transposed else g.stride[0]
        j0 = min((tap.j for tap in taps), default=0)
        j1 = max((tap.j + (tap.windows - 1) * step + 1 for tap in taps), default=0)
        found.append(Rows(i0, i1, j0, j1, taps))
    return found


def _taps(g: Correlation, transposed: bool, i0: int, i1: int) -> Iterator[Tap]:
    stride = g.stride[0]
    for r in range(g.R):
        row = g.axes[0].position(0, r)
        p0, p1 = g.axes[0].windows_inside(r)
        if transposed:
            p0, p1 = max(p0, -((row - i0) // stride)), min(p1, -((row - i1) // stride))
        else:
            p0, p1 = max(p0, i0), min(p1, i1)
        if p0 < p1:
            h = p0 * stride + row
            yield Tap(r, h, p0, p1 - p0) if transposed else Tap(r, p0, h, p1 - p0)


def _multiply(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    g: Correlation,
    padding: Pair,
    transposed: bool,
) -> list[Pair]:
    """y (N, C, I, W) from x (N, C, J, W); returns the images whose result is not finite in some row."""
    n, channels, _, width = x.shape
    (left, right), dilation = padding, g.dilation[1]
    step = (g.stride[0], 1) if transposed else (1, g.stride[0])
    ones = np.ones((1, g.S), x.dtype)
    spoilt: set[Pair] = set()

    def work(rows: Rows, some: Pair, images: Pair) -> None:
        (c0, c1), (n0, n1), (i0, i1, j0, j1, taps) = some, images, rows
        outer, run = (n1 - n0, c1 - c0), (i1 - i0) * width
        bands, lines = threads.scratch(x.dtype, (c1 - c0, g.S, i1 - i0, j1 - j0), (*outer, left + g.S * run + right))
        bands[...] = 0
        for r, i, j, windows in taps:
            diagonal(bands, (i - i0, j - j0), step, windows)[...] = w[c0:c1, r, :, None]
        matrices = bands.reshape(c1 - c0, g.S * (i1 - i0), j1 - j0)
        lines[..., :left] = 0
        lines[..., left + g.S * run :] = 0
        z = lines[..., left : left + g.S * run].reshape(*outer, g.S * (i1 - i0), width)
        np.matmul(matrices, x[n0:n1, c0:c1, j0:j1], out=z)
        for s in range(g.S):
            _clear_moved(z[:, :, s * (i1 - i0) : (s + 1) * (i1 - i0)], left - s * dilation)
        strides = *lines.strides[:2], (run + dilation) * x.itemsize, x.itemsize
        shifted = as_strided(lines, (*outer, g.S, run), strides)
        target = y[n0:n1, c0:c1, i0:i1]
        np.matmul(ones, shifted, out=target.reshape(*outer, 1, run))
        if not np.isfinite(target[:, :, 0].sum()):
            spoilt.add(images)
        if b is not None:
            target += b[c0:c1, None, None]

    depth = (ROWS + g.R) * max(g.dilation[0], g.stride[0])  # at least j1 - j0
    plane_bytes = g.S * ROWS * (width + depth // max(1, n)) * x.itemsize
    planes = max(1, min(BLOCK_BYTES, max(LEAST_BYTES, plane_bytes * n * channels // UNITS)) // plane_bytes)
    threads.run(
        work,
        [
            (rows, some, images)
            for some in spans(channels, planes // max(1, n))
            for images in spans(n, planes)
            for rows in row_blocks(g, transposed)
        ],
        scratch=2 * planes * plane_bytes,
    )
    return sorted(spoilt)
