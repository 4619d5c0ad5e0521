"""Dropout in plain NumPy. Other paths are judged by it."""

from __future__ import annotations

import numpy as np

from ..cpu import threads
from ..cpu.philox import philox
from ..cpu.pieces import PIECES
from ..dtypes import accumulation_dtype
from .geometry import DropoutGeometry

LEAST, MOST = 1 << 12, 1 << 15  # fours of elements in a piece of work: a round's temporaries stay in cache


def dropout(x: np.ndarray, position: np.ndarray, geometry: DropoutGeometry) -> np.ndarray:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y, given = np.empty(g.size, x.dtype), np.ascontiguousarray(x).reshape(-1)
    fours, scale = -(-g.size // 4), acc.type(g.scale)
    key = g.seed & 0xFFFFFFFF, g.seed >> 32

    def work(first: int, last: int) -> None:
        words = philox(np.arange(first, last), *map(int, position), key=key)
        here = slice(4 * first, min(4 * last, g.size))
        kept = (words >= g.threshold).reshape(-1)[: here.stop - here.start]
        y[here] = np.where(kept, given[here].astype(acc, copy=False) * scale, 0)

    most = min(MOST, max(LEAST, fours // PIECES))
    threads.run(work, [(first, min(first + most, fours)) for first in range(0, fours, most)], 8 * 4 * 8 * MOST)
    return y.reshape(g.x_shape)
