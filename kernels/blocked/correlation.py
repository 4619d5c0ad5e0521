"""The one problem that forward, dx and its stride classes all are, and how it is cut into blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..axis import Axis, Windowed
from ..checks import Pair
from ..kept import hashed_once

BLOCK_BYTES = 4 << 20  # of gathered input per block: it stays in cache between gathering and product
BLOCK_FLOPS = 30_000_000  # less is computed before another thread has woken up, in calls too short to overlap
WIDE = 128  # pixels that a product needs to run at full speed
UNITS = 8  # large work is cut into at least this many blocks, so that several threads have some


@hashed_once
@dataclass(frozen=True)
class Correlation(Windowed):
    """y[n,g,k,p,q] = sum over c,r,s of w[g,k,c,r,s] * x[n,g,c,h,v], h = p*stride + r*dilation - top, v likewise in W.

    x is (N, G, C, H, W), w is (G, K, C, R, S), y is (N, G, K, P, Q). x counts as 0 outside its extents, however far the
    windows reach.
    """

    N: int
    G: int
    C: int
    K: int
    axes: tuple[Axis, ...]

    @property
    def origin(self) -> Pair:
        """(top, left), either of which may be negative."""
        return self.axes[0].before, self.axes[1].before

    @property
    def depth(self) -> int:
        """Products per output element: the length of a column."""
        return self.C * self.R * self.S

    @property
    def flops(self) -> int:
        return 2 * self.N * self.G * self.K * self.P * self.Q * self.depth

    @property
    def reaches_outside(self) -> bool:
        """Whether some window reaches outside x."""
        return any(axis.reaches_outside for axis in self.axes)

    def region(self, p: int, q: int, rows: int) -> Pair:
        """Input rows and columns that the windows of p x q neighbouring pixels span, with `rows` kernel rows."""
        h, w = self.axes
        return h.span(p) - (self.R - rows) * h.dilation, w.span(q)


def by_group(a: np.ndarray, groups: int) -> np.ndarray:
    """An array (N, C, H, W) as a view (N, groups, C/groups, H, W)."""
    return a.reshape(a.shape[0], groups, a.shape[1] // groups, *a.shape[2:])


def weights_by_group(w: np.ndarray, groups: int) -> np.ndarray:
    """Weights (K, C/groups, R, S) as a view (groups, K/groups, C/groups, R, S)."""
    return w.reshape(groups, w.shape[0] // groups, *w.shape[1:])


class Block(NamedTuple):
    """Images n0:n1, output rows p0:p1 and output columns q0:q1."""

    n0: int
    n1: int
    p0: int
    p1: int
    q0: int
    q1: int
    joint: bool  # whether the pixels of all images stand side by side in one matrix, or each image has its own

    @property
    def extents(self) -> tuple[int, int, int]:
        return self.n1 - self.n0, self.p1 - self.p0, self.q1 - self.q0

    @property
    def matrices(self) -> Pair:
        """How many matrices, and the pixels of each."""
        n, p, q = self.extents
        return (1, n * p * q) if self.joint else (n, p * q)

    def of(self, a: np.ndarray) -> np.ndarray:
        """This block of an array (N, G, K, P, Q)."""
        return a[self.n0 : self.n1, :, :, self.p0 : self.p1, self.q0 : self.q1]


class Part(NamedTuple):
    """Channels c0:c1 and kernel rows r0:r1 of a column."""

    c0: int
    c1: int
    r0: int
    r1: int

    def depth(self, c: Correlation) -> int:
        return (self.c1 - self.c0) * (self.r1 - self.r0) * c.S

    def span(self, c: Correlation) -> slice:
        """Where the part lies in the whole column."""
        start = (self.c0 * c.R + self.r0) * c.S
        return slice(start, start + self.depth(c))


class Cut(NamedTuple):
    """Blocks of pixels that cover the output, spans of groups, and the parts that make up a column."""

    blocks: list[Block]
    groups: tuple[Pair, ...]
    parts: list[Part]


@lru_cache
def cut(c: Correlation, itemsize: int, images: int, channels: int, joint: bool) -> Cut:
    """Cut by shape alone, never by the number of threads, so that what is gathered at a time fits BLOCK_BYTES.

    images, channels: the most to take at a time.
    """
    n, g, p, q, rows = images, c.G, c.P, c.Q, c.R
    while itemsize * _gathered(c, n * g * channels, p, q, rows) > BLOCK_BYTES:
        if n > 1:
            n = half(n)
        elif p > 1 and p * q > WIDE:
            p = half(p)
        elif p == 1 and q > WIDE:
            q = half(q)
        elif g > 1:
            g = half(g)
        elif channels > 1:
            channels = half(channels)
        elif rows > 1:
            rows = half(rows)
        elif p > 1:
            p = half(p)
        elif q > 1:
            q = half(q)
        else:
            break
    blocks = [
        Block(*images, *lines, *columns, joint)
        for images in even_spans(c.N, n)
        for lines in spans(c.P, p)
        for columns in spans(c.Q, q)
    ]
    parts = [Part(*some, *lines) for some in spans(c.C, channels) for lines in spans(c.R, rows)]
    return Cut(blocks, spans(c.G, g), parts)


def _gathered(c: Correlation, planes: int, p: int, q: int, rows: int) -> int:
    """Elements of the columns of p x q pixels and of the input region they come from."""
    height, width = c.region(p, q, rows)
    return planes * (rows * c.S * p * q + height * width)


def images_for(c: Correlation, pixels: int) -> int:
    """Images that together have this many pixels, and work worth handing out."""
    flops = max(1, c.flops // max(1, c.N))
    return max(1, min(c.N, max(-(-pixels // (c.P * c.Q)), BLOCK_FLOPS // flops)))


def half(extent: int) -> int:
    return (extent + 1) // 2


@lru_cache(4096)
def spans(extent: int, size: int) -> tuple[Pair, ...]:
    """range(extent) in the fewest parts of at most `size`, of nearly equal length."""
    return divide(extent, -(-extent // max(1, size)))


@lru_cache(4096)
def even_spans(extent: int, size: int) -> tuple[Pair, ...]:
    """As `spans`, but in 1, 2, 4 or at least 8 parts, so that the threads of most machines get as much each."""
    parts = -(-extent // max(1, size))
    return divide(extent, min(extent, max(parts, min(UNITS, 1 << max(0, parts - 1).bit_length()))))


@lru_cache(4096)
def divide(extent: int, parts: int) -> tuple[Pair, ...]:
    """range(extent) in parts of nearly equal length."""
    bounds = [extent * i // max(1, parts) for i in range(parts + 1)]
    return tuple(itertools.pairwise(bounds))
