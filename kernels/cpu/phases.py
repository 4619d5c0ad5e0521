"""Padded planes split by position modulo the stride, so that every tap of a strided window reads a contiguous run.

A plane of rows x columns becomes (sh, sw, rows/sh, columns/sw): row i, column j lies in phase (i % sh, j % sw) at
(i // sh, j // sw). With the phases' planes flat, tap (r, s) of all windows is one run from `tap_run` on.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair


def copy_padded(x: np.ndarray, region: np.ndarray, start: Pair) -> None:
    """Fill region (..., sh, sw, rows, columns) with x (..., H, W) from row and column `start` on, with 0 outside x."""
    sh, sw, height, width = region.shape[-4:]
    for a in range(sh):
        h0, h1 = _overlap(start[0] + a, height, x.shape[-2], sh)
        for b in range(sw):
            w0, w1 = _overlap(start[1] + b, width, x.shape[-1], sw)
            plane = region[..., a, b, :, :]
            plane[..., :h0, :] = 0
            plane[..., h1:, :] = 0
            plane[..., h0:h1, :w0] = 0
            plane[..., h0:h1, w1:] = 0
            if h0 < h1 and w0 < w1:
                rows, columns = _run(start[0] + a, h0, h1, sh), _run(start[1] + b, w0, w1, sw)
                plane[..., h0:h1, w0:w1] = x[..., rows, columns]


def copy_inside(region: np.ndarray, x: np.ndarray, start: Pair) -> None:
    """The reverse: fill x (..., H, W), whose first element is row and column `start` of the region."""
    sh, sw = region.shape[-4:-2]
    for a in range(min(sh, x.shape[-2])):
        for b in range(min(sw, x.shape[-1])):
            target, h, w = x[..., a::sh, b::sw], (a + start[0]) // sh, (b + start[1]) // sw
            source = region[..., (a + start[0]) % sh, (b + start[1]) % sw, h:, w:]
            target[...] = source[..., : target.shape[-2], : target.shape[-1]]


def tap_run(flat: np.ndarray, row: int, column: int, stride: Pair, width: int, length: int) -> np.ndarray:
    """`length` elements from (row, column) on in its phase; flat: (..., sh, sw, rows * width)."""
    (i, a), (j, b) = divmod(row, stride[0]), divmod(column, stride[1])
    start = i * width + j
    return flat[..., a, b, start : start + length]


def _run(start: int, low: int, high: int, step: int) -> slice:
    return slice(start + low * step, start + (high - 1) * step + 1, step)


def _overlap(start: int, size: int, extent: int, step: int) -> Pair:
    """The part of range(size) whose `start + i*step` lies inside range(extent)."""
    low = min(max(-(start // step), 0), size)
    return low, max(low, min(-((start - extent) // step), size))
