"""Padded planes split by position modulo the stride, so that every tap of a strided window reads a contiguous run.

A plane of rows x columns becomes (sh, sw, rows/sh, columns/sw): row i, column j lies in phase (i % sh, j % sw) at
(i // sh, j // sw). With the phases' planes flat, the elements under tap (r, s) of all windows are one run. Between the
windows of one row and the next it holds a few positions that belong to no window; they are computed and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..axis import Windowed
from ..checks import Pair


class Planes:
    """The extents of padded planes under `windows` rows of Q windows, and the runs of their taps."""

    def __init__(self, g: Windowed, windows: int, least: Pair = (0, 0)) -> None:
        """least: rows and columns of the padded planes that must be there in any case."""
        self.g = g
        (sh, sw), (dh, dw) = g.stride, g.dilation
        self.width = max(g.Q + (g.S - 1) * dw // sw, -(-least[1] // sw))
        self.rows = max(windows + (g.R - 1) * dh // sh, -(-least[0] // sh)) + 1  # the last run ends in the row after
        self.length = windows * self.width
        self.shape = sh, sw, self.rows, self.width

    @property
    def last_tap(self) -> int:
        """How far the last tap's run begins after the first tap's."""
        (sh, sw), (dh, dw), g = self.g.stride, self.g.dilation, self.g
        return (g.R - 1) * dh // sh * self.width + (g.S - 1) * dw // sw

    def flat(self, planes: np.ndarray) -> np.ndarray:
        """Planes (..., sh, sw, rows, width) as (..., sh, sw, rows * width)."""
        return planes.reshape(*planes.shape[:-2], self.rows * self.width)

    def tap(self, flat: np.ndarray, r: int, s: int, p0: int, length: int) -> np.ndarray:
        """Tap (r, s) of the windows from row p0 on: `length` elements of flat planes (..., sh, sw, rows * width)."""
        (i, a), (j, b) = (
            divmod(tap * dilation, stride)
            for tap, dilation, stride in zip((r, s), self.g.dilation, self.g.stride, strict=True)
        )
        start = (p0 + i) * self.width + j
        return flat[..., a, b, start : start + length]

    def taps(self, planes: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Every tap r, s with its run (..., length) in planes (..., sh, sw, rows, width)."""
        flat = self.flat(planes)
        for r in range(self.g.R):
            for s in range(self.g.S):
                yield r, s, self.tap(flat, r, s, 0, self.length)


def gradient_rows(g: Windowed, h0: int, h1: int) -> tuple[Pair, int]:
    """The window rows p0:p1 that reach input rows h0:h1, and the row of h0 in planes that start under window p0."""
    axis = g.axes[0]
    p0, p1 = axis.windows_over(h0, h1)
    p0 = min(p0, (h0 + axis.before) // axis.stride)  # rows between windows are planes' rows, too
    return (p0, p1), h0 - axis.position(p0, 0)


def copy_padded(x: np.ndarray, region: np.ndarray, start: Pair) -> None:
    """Fill region (..., sh, sw, rows, columns) with x (..., H, W) from row and column `start`; 0 beyond x."""
    sh, sw = region.shape[-4:-2]
    for a in range(sh):
        for b in range(sw):
            copy_sampled(x, region[..., a, b, :, :], (start[0] + a, start[1] + b), (sh, sw))


def copy_sampled(x: np.ndarray, plane: np.ndarray, start: Pair, step: Pair) -> None:
    """Fill plane (..., rows, columns) with every step-th element of x (..., H, W) from `start` on; 0 beyond x."""
    h0, h1, rows = overlap(start[0], plane.shape[-2], x.shape[-2], step[0])
    w0, w1, columns = overlap(start[1], plane.shape[-1], x.shape[-1], step[1])
    if h0 > 0:
        plane[..., :h0, :] = 0
    if h1 < plane.shape[-2]:
        plane[..., h1:, :] = 0
    if w0 > 0:
        plane[..., h0:h1, :w0] = 0
    if w1 < plane.shape[-1]:
        plane[..., h0:h1, w1:] = 0
    if h0 < h1 and w0 < w1:
        plane[..., h0:h1, w0:w1] = x[..., rows, columns]


def copy_inside(region: np.ndarray, x: np.ndarray, start: Pair) -> None:
    """The reverse: fill x (..., H, W), whose first element is row and column `start` of the region."""
    sh, sw = region.shape[-4:-2]
    for a in range(min(sh, x.shape[-2])):
        for b in range(min(sw, x.shape[-1])):
            target, h, w = x[..., a::sh, b::sw], (a + start[0]) // sh, (b + start[1]) // sw
            source = region[..., (a + start[0]) % sh, (b + start[1]) % sw, h:, w:]
            target[...] = source[..., : target.shape[-2], : target.shape[-1]]


@lru_cache(4096)
def overlap(start: int, size: int, extent: int, step: int) -> tuple[int, int, slice]:
    """The low:high of range(size) whose `start + i*step` lies inside range(extent), and the slice of the latter."""
    low = min(max(-(start // step), 0), size)
    high = max(low, min(-((start - extent) // step), size))
    return low, high, slice(start + low * step, start + (high - 1) * step + 1, step)
