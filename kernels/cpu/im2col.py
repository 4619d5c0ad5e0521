"""Convolution as matrix products, piece by piece: what a window reads becomes a column of a matrix (im2col).

There is no padding to copy: windows that see the same taps of the kernel meet these taps alone, so no product is ever
made with a zero that the definition does not name. Arrays have their groups apart: x is (N, G, C, *X), w is
(G, K, C, *R) and y is (N, G, K, *P), with one, two or three axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..axis import Axis
from ..dtypes import accumulation_dtype
from . import threads, tiles
from .pieces import (
    DEPTH,
    PIECE,
    PIECES,
    ROWS,
    Box,
    common,
    cut,
    inside,
    matrices,
    meetings,
    same_taps,
    scratch,
    size,
    whole,
)

WIDE = 1 << 7  # columns that a product needs to run at full speed

Axes = tuple[Axis, ...]


def correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, axes: Axes) -> None:
    """y = b (G, K) plus, for every window, the sum of what its taps read times their weights."""
    acc = accumulation_dtype(x.dtype)

    def work(terms: Box, filters: slice, groups: slice, images: slice, *windows: slice) -> None:
        target = np.moveaxis(y[(images, groups, filters, *windows)], 0, 2)
        total = np.zeros((*target.shape[:2], size(images, *windows)), acc)
        if b is not None:
            total += b[groups, filters, None]
        for channels, *taps in cut(terms, DEPTH):
            weights = matrices(w[(groups, filters, channels, *taps)], 2, acc)
            total += weights @ _columns(x[images, groups, channels], axes, tuple(windows), tuple(taps), acc)
        target[...] = total.reshape(target.shape)

    images, groups, filters = whole(*y.shape[:3])
    pieces = []
    for windows, taps in same_taps(axes):
        terms = slice(0, w.shape[2]), *taps
        pieces += [(terms, *box) for box in _cut(filters, groups, (images, *windows), size(*terms))]
    alone = threads.is_small(w.shape[1], math.prod(w.shape[2:]), len(y) * math.prod(y.shape[3:]))
    threads.run(work, pieces, scratch(acc), alone)


def input_grad(dy: np.ndarray, w: np.ndarray, b: np.ndarray | None, dx: np.ndarray, axes: Axes) -> None:
    """dx = b (G, C) plus, tap by tap, what the windows give to the positions under it."""
    if tiles.suit(dy.shape[2], axes):
        tiles.input_grad(dy, w, b, dx, axes)
        return
    acc = accumulation_dtype(dy.dtype)
    filters, *windows = whole(*dy.shape[2:])

    def work(channels: slice, groups: slice, images: slice, *positions: slice) -> None:
        target = np.moveaxis(dx[(images, groups, channels, *positions)], 0, 2)
        total = np.zeros(target.shape, acc)
        if b is not None:
            total += np.expand_dims(b[groups, channels], tuple(range(2, total.ndim)))
        for tap, p, at in meetings(axes, tuple(windows), tuple(positions)):
            part = total[inside(at, tuple(positions))]
            for (k,) in cut((filters,), DEPTH):
                weights = matrices(w[(groups, k, channels, *tap)].swapaxes(1, 2), 2, acc)
                gradients = matrices(np.moveaxis(dy[(images, groups, k, *p)], 0, 2), 2, acc)
                part += (weights @ gradients).reshape(part.shape)
        target[...] = total

    images, groups, channels, *positions = whole(*dx.shape)
    threads.run(work, list(_cut(channels, groups, (images, *positions), dy.shape[2])), scratch(acc))


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, axes: Axes) -> None:
    """dw = for every weight, the sum over all windows of what its tap reads times dy."""
    acc = accumulation_dtype(x.dtype)
    (images,) = whole(len(x))

    def work(groups: slice, channels: slice, filters: slice, *some: slice) -> None:
        target = dw[(groups, filters, channels, *some)]
        total = np.zeros(target.shape, acc)
        for windows, reached in same_taps(axes):
            taps = tuple(map(common, reached, some))
            part = total[inside(taps, tuple(some))]
            height = size(groups) * max(size(filters), size(channels, *taps))
            for n, *p in cut((images, *windows), PIECE // height) if part.size else ():
                gradients = matrices(np.moveaxis(dy[(n, groups, filters, *p)], 0, 2), 2, acc)
                columns = _columns(x[n, groups, channels], axes, tuple(p), taps, acc)
                part += (gradients @ columns.swapaxes(1, 2)).reshape(part.shape)
        target[...] = total

    g, k, *rest = whole(*dw.shape)
    c, *taps = rest
    threads.run(work, list(cut((g, c, k, *taps), min(PIECE, max(WIDE, dw.size // PIECES)))), scratch(acc))


def _cut(rows: slice, groups: slice, pixels: Box, depth: int) -> Iterator[Box]:
    """Cut a product of rows by pixels in each group, of which so many terms are summed: (rows, groups, *pixels)."""
    depth = max(1, min(DEPTH, depth))
    wide = max(WIDE, size(*pixels) // PIECES)
    for (k,), (g,) in product(cut((rows,), ROWS), cut((groups,), PIECE // (ROWS * depth))):
        for box in cut((g, *pixels), min(size(g) * wide, PIECE // max(depth, size(k)))):
            yield k, *box


def _columns(x: np.ndarray, axes: Axes, windows: Box, taps: Box, acc: np.dtype) -> np.ndarray:
    """What these taps of these windows read of x (N, G, C, *X): matrices (G, C * taps, N * windows)."""
    corner = (slice(axis.position(p.start, r.start), None) for axis, p, r in zip(axes, windows, taps, strict=True))
    x = np.moveaxis(x[(*whole(*x.shape[:3]), *corner)], 0, 2)
    step_g, step_c, step_n, *steps = x.strides
    # A lone window or tap takes no step, which may be longer than an address.
    between_taps = (step * min(axis.dilation, axis.extent) for step, axis in zip(steps, axes, strict=True))
    between_windows = (step * min(axis.stride, axis.extent) for step, axis in zip(steps, axes, strict=True))
    shape = *x.shape[:2], *map(size, taps), x.shape[2], *map(size, windows)
    strides = step_g, step_c, *between_taps, step_n, *between_windows
    return matrices(as_strided(x, shape, strides, writeable=False), 2 + len(axes), acc)
