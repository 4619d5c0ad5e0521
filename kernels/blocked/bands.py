"""Depthwise convolution of small planes, and its input gradient, as products with banded matrices.

An output row is the product of a run of neighbouring input rows with a matrix that holds the channel's kernel along
its diagonals, padding and stride along W included:
    y[n, c, i, :] = x[n, c, i*stride - top : i*stride - top + R, :] (flat, R*W long) @ band[c] (R*W, Q).
The same row of all images is one product, which reads x and writes y where they lie. That makes W/S times more
products than needed, and costs less than many short passes while W is small. Images where a product of 0 and infinity
spoilt a row are computed again tap by tap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..checks import Pair
from ..cpu import threads
from . import depthwise
from .correlation import Correlation, spans

BAND_BYTES = 1 << 20  # of the matrices of one unit of work
UNIT_FLOPS = 20_000_000  # units below that hinder each other more than they help, but for two


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, g: Correlation) -> None:
    """Fill y (N, C, P, Q) from x (N, C, H, W), w (C, R, S) and b (C,) or None; rows of x and y are contiguous."""

    def fill(bands: np.ndarray, kernel: np.ndarray) -> None:
        for s, column, q0, q1 in _column_taps(g):
            diagonal(bands, (q0 * g.stride[1] + column, q0), (g.stride[1], 1), q1 - q0)[...] = kernel[:, :, s, None]

    def multiply(some: slice) -> None:
        _multiply_rows(x[:, some], w[some], y[:, some], (g.stride[0], g.padding[0][0]), fill)

    for n in _run(multiply, y, b, g.R * g.W):
        bias = None if b is None else b[:, None]
        depthwise.correlate(x[n : n + 1], w[:, None], bias, y[n : n + 1, :, None], replace(g, N=1))


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, g: Correlation) -> None:
    """Fill dx (N, C, H, W) from dy (N, C, P, Q), w (C, R, S) and b (C,) or None; rows of dy and dx are contiguous."""

    def fill(bands: np.ndarray, kernel: np.ndarray) -> None:
        for s, column, q0, q1 in _column_taps(g):
            diagonal(bands, (q0, q0 * g.stride[1] + column), (1, g.stride[1]), q1 - q0)[...] = kernel[:, :, s, None]

    def multiply(some: slice) -> None:
        for rows in g.axes[0].classes():
            kernel = w[some, rows.tap :: rows.step][:, ::-1]
            _multiply_rows(dy[:, some], kernel, dx[:, some, rows.first :: g.stride[0]], (1, rows.gradient.before), fill)

    for n in _run(multiply, dx, b, -(-g.R // g.stride[0]) * g.Q):
        depthwise.input_grad(dy[n : n + 1, :, None], w[:, None], b, dx[n : n + 1], replace(g, N=1))


def _run(multiply: Callable[[slice], None], y: np.ndarray, b: np.ndarray | None, depth: int) -> set[int]:
    """Call multiply for spans of channels, and add the bias; returns the images in which a row is not finite.

    depth: products per element of y.
    """
    spoilt: set[int] = set()

    def work(c0: int, c1: int) -> None:
        some = slice(c0, c1)
        multiply(some)
        spoilt.update(np.flatnonzero(~np.isfinite(y[:, some, :, 0].sum(axis=(1, 2)))).tolist())
        if b is not None:
            y[:, some] += b[some, None, None]

    channels = y.shape[1]
    units = max(2, min(depthwise.UNITS, 2 * y.size * depth // UNIT_FLOPS))
    most = BAND_BYTES // (depth * y.shape[3] * y.itemsize)
    threads.run(work, spans(channels, min(most, -(-channels // units))))
    return spoilt


def _column_taps(g: Correlation) -> Iterator[tuple[int, int, int, int]]:
    """Every kernel column s, with the column of x where it stands in window 0, and the windows q0:q1 where inside x."""
    for s in range(g.S):
        q0, q1 = g.axes[1].windows_inside(s)
        if q0 < q1:
            yield s, g.axes[1].position(0, s), q0, q1


def diagonal(bands: np.ndarray, start: Pair, step: Pair, count: int) -> np.ndarray:
    """View bands[:, :, start[0] + i*step[0], start[1] + i*step[1]] for i in range(count)."""
    stride = step[0] * bands.strides[2] + step[1] * bands.strides[3]
    return as_strided(bands[:, :, start[0] :, start[1] :], (*bands.shape[:2], count), (*bands.strides[:2], stride))


def _multiply_rows(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, step: Pair, fill: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    """Output row i is the product of input rows i*stride - origin ... + T, for step = (stride, origin) and w (C, T, S).

    fill(bands, w) writes the kernels into their zeroed bands (C, T, W, Q).
    """
    n, channels, height, width = x.shape
    taps, columns = w.shape[1], y.shape[3]
    (bands,) = threads.scratch(x.dtype, (channels, taps, width, columns))
    bands[...] = 0
    fill(bands, w)
    matrices = bands.reshape(channels, 1, taps * width, columns)
    for i0, i1, t0, t1 in _runs(y.shape[2], height, taps, step):
        target = y[:, :, i0:i1].transpose(1, 2, 0, 3)
        if t0 == t1:
            target[...] = 0
        else:
            source = x[:, :, i0 * step[0] - step[1] + t0 :]
            strides = x.strides[1], step[0] * x.strides[2], x.strides[0], x.strides[3]
            rows = as_strided(source, (channels, i1 - i0, n, (t1 - t0) * width), strides)
            np.matmul(rows, matrices[:, :, t0 * width : t1 * width], out=target)


def _runs(rows: int, height: int, taps: int, step: Pair) -> list[tuple[int, int, int, int]]:
    """Output rows i0:i1 whose taps t0:t1 lie inside the input, for all that have the same."""

    def inside(i: int) -> Pair:
        first = i * step[0] - step[1]
        t0 = min(taps, max(0, -first))
        return t0, max(t0, min(taps, height - first))

    runs, start = [], 0
    for (t0, t1), same in groupby(map(inside, range(rows))):
        count = len(list(same))
        runs.append((start, start + count, t0, t1))
        start += count
    return runs
