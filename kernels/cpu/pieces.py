"""Work cut into pieces by shape alone, so that no result depends on how many threads share them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..axis import Axis

PIECE = 1 << 18  # elements of each array that a piece of work needs: they stay in cache
PIECES = 8  # of work that is worth several threads
ROWS = 1 << 8  # of a matrix of weights
DEPTH = 1 << 10  # products that are summed at a time

Box = tuple[slice, ...]


def whole(*extents: int) -> Box:
    return tuple(slice(0, extent) for extent in extents)


def size(*box: slice) -> int:
    return math.prod(part.stop - part.start for part in box)


def cut(box: Box, most: int) -> Iterator[Box]:
    """Cut a box of indices into boxes of at most `most`, along its first axes first."""
    if not box:
        yield ()
        return
    first, *rest = box
    length = max(1, most // max(1, size(*rest)))
    for start in range(first.start, first.stop, length):
        part = slice(start, min(start + length, first.stop))
        for others in cut(tuple(rest), most // size(part)):
            yield part, *others


def same_taps(axes: tuple[Axis, ...]) -> Iterator[tuple[Box, Box]]:
    """Neighbouring windows of which the same taps lie inside the input, with these taps."""
    for each in product(*(axis.same_taps() for axis in axes)):
        windows, taps = zip(*each, strict=True)
        yield windows, taps


def meetings(axes: tuple[Axis, ...], windows: Box, positions: Box) -> Iterator[tuple[tuple[Any, ...], Box, Box]]:
    """Each tap that stands at some of these positions in some of these windows, with both."""
    for each in product(*(axis.meetings(*some) for axis, *some in zip(axes, windows, positions, strict=True))):
        tap, p, at = zip(*each, strict=True)
        yield tap, p, at


def inside(box: Box, of: Box) -> Any:
    """The index of a box in an array whose last axes are `of`."""
    parts = (slice(part.start - o.start, part.stop - o.start, part.step) for part, o in zip(box, of, strict=True))
    return (..., *parts)


def common(a: slice, b: slice) -> slice:
    start = max(a.start, b.start)
    return slice(start, max(start, min(a.stop, b.stop)))


def scratch(acc: np.dtype) -> int:
    """Bytes that a piece of work takes: two factors, their product, and what it is added to."""
    return 4 * PIECE * acc.itemsize


def matrices(a: np.ndarray, rows: int, acc: np.dtype) -> np.ndarray:
    """An array (G, ...) as G matrices, whose rows are its next axes up to `rows`."""
    a = np.ascontiguousarray(a, acc)
    return a.reshape(len(a), math.prod(a.shape[1:rows]), math.prod(a.shape[rows:]))
