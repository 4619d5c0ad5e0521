"""Pooling windows of a few planes as two one-dimensional passes over long runs.

A pass along H takes whole input rows, as they lie: at a small stride all of them, so that row r of the windows is one
run, shifted by r rows; the rows that start a window are picked from its result. Each becomes a line, wide enough for
the padding and a multiple of the stride. Split into phases of the stride, all lines are one run for the pass along W:
column s of all windows is a contiguous part of one phase. At the end of each line the run meets a few positions that
belong to no window; they are computed and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..axis import Windowed
from ..checks import Pair
from ..dtypes import accumulation_dtype
from .correlation import UNITS, spans

BLOCK_BYTES = 2 << 20  # of one block's lines: with what is computed from them they stay in cache
WORKING_BYTES = 5 * BLOCK_BYTES  # what a thread allocates for a block
DENSE = 2  # the largest stride at which computing all rows costs less than skipping some
LEAST_BYTES = 1536 << 10  # smaller blocks are computed in calls too short for threads to overlap


class Lines:
    """The lines of window rows p0:p1 in n x c planes."""

    def __init__(self, g: Windowed, planes: Pair, rows: Pair) -> None:
        (n, c), (p0, p1) = planes, rows
        self.g, self.p0, self.p1 = g, p0, p1
        self.left = g.padding[1][0]
        axis, sw = g.axes[1], g.stride[1]
        self.windows = -(-max(self.left + g.W, axis.span(g.Q)) // sw)
        self.outer = n, c, p1 - p0
        self.run = n * c * (p1 - p0) * self.windows
        self.phase = self.run + axis.reach // sw
        self.size = self.phase * sw

    def inside(self, lines: np.ndarray) -> np.ndarray:
        """The part of flat lines (size,) that corresponds to input columns: a view (n, c, p, W)."""
        whole = lines[: self.run * self.g.stride[1]].reshape(*self.outer, -1)
        return whole[..., self.left : self.left + self.g.W]

    def rows(self, x: np.ndarray, h0: int) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Kernel rows r with the lines whose row r is among the rows h0... of x (n, c, h, W), and those rows."""
        sh = self.g.stride[0]
        for r in range(self.g.R):
            start = self.g.axes[0].position(self.p0, r) - h0
            first, last = max(0, -(start // sh)), min(self.p1 - self.p0, (x.shape[2] - 1 - start) // sh + 1)
            if first < last:
                source = x[:, :, start + first * sh : start + (last - 1) * sh + 1 : sh]
                yield r, slice(first, last), source

    def reached(self, x: np.ndarray, outside: float) -> np.ndarray:
        """All rows that the windows reach, of x (n, c, H, W): those outside x have the value `outside`; contiguous."""
        g, dtype = self.g, accumulation_dtype(x.dtype)
        axis = g.axes[0]
        start, (h0, h1) = axis.position(self.p0, 0), axis.positions_under(self.p0, self.p1)
        height = axis.span(self.p1 - self.p0)
        if (h0, h1) == (start, start + height):
            return np.ascontiguousarray(x[:, :, h0:h1], dtype)
        rows = np.full((*x.shape[:2], height, g.W), outside, dtype)
        rows[:, :, h0 - start : h1 - start] = x[:, :, h0:h1]
        return rows

    def kernel_rows(self, reached: np.ndarray) -> list[np.ndarray]:
        """For each r the input elements at row r of the windows, from the rows they reach.

        Up to stride DENSE they are flat parts of all rows, whatever window each starts: long runs are worth it.
        """
        shifts = range(0, self.g.R * self.g.dilation[0], self.g.dilation[0])
        if self.g.stride[0] <= DENSE:
            flat, width = reached.reshape(-1), self.g.W
            return [flat[r * width : flat.size - (shifts[-1] - r) * width] for r in shifts]
        height = reached.shape[2] - shifts[-1]
        return [reached[:, :, r : r + height : self.g.stride[0]] for r in shifts]

    def of_rows(self, values: np.ndarray, reached: np.ndarray) -> np.ndarray:
        """What was computed from kernel_rows as a view (n, c, p, W)."""
        if values.ndim > 1:
            return values
        (_, c, height, w), size = reached.shape, values.itemsize
        strides = c * height * w * size, height * w * size, self.g.stride[0] * w * size, size
        return as_strided(values, (*self.outer, w), strides)  # the last plane ends with its last line

    def laid(self, columns: np.ndarray, outside: float) -> np.ndarray:
        """Values of input columns, (n, c, p, W), as lines by phase of the stride, (stride, phase)."""
        sw = self.g.stride[1]
        if columns.size == self.size:
            lines = columns.reshape(-1)
        else:
            lines = np.full(self.size, outside, columns.dtype)
            self.inside(lines)[...] = columns
        return np.ascontiguousarray(self.phases(lines)) if sw > 1 else lines[None]

    def phases(self, lines: np.ndarray) -> np.ndarray:
        """Flat lines (size,) by phase of the stride: a view (stride, phase)."""
        return lines.reshape(self.phase, -1).T

    def columns(self, phases: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Kernel columns s of all windows: views (run,) of phases."""
        for s in range(self.g.S):
            start, phase = divmod(s * self.g.dilation[1], self.g.stride[1])
            yield s, phases[phase, start : start + self.run]

    def of_windows(self, values: np.ndarray) -> np.ndarray:
        """Values (run,) as a view (n, c, p, Q)."""
        return values.reshape(*self.outer, self.windows)[..., : self.g.Q]


def plane_blocks(n: int, c: int, lines: int, line_bytes: int) -> list[tuple[Pair, Pair, Pair]]:
    """N*C planes of `lines` rows in blocks (images, channels, rows) of at most about BLOCK_BYTES."""
    plane_bytes = max(1, line_bytes * lines)
    planes = max(1, BLOCK_BYTES // plane_bytes)
    planes = min(planes, max(LEAST_BYTES // plane_bytes, -(-c * n // UNITS), 1))
    return [
        (images, channels, rows)
        for images in spans(n, planes // max(1, c))
        for channels in spans(c, planes)
        for rows in spans(lines, BLOCK_BYTES // line_bytes)
    ]
