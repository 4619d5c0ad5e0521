"""How a correlation is cut into blocks, and where in the run of a block's source every tap stands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..axis import Axis
from ..kept import hashed_once
from . import vectors

RUN_BYTES = 384 << 10  # of a block's source: it stays in the second cache
SHORT = 1024  # positions: runs of several images are this long
BLOCK_FLOPS = 4 << 20  # less is not worth cutting for other threads
BLOCKS = 4  # that large work is cut into at least
FEWEST_ROWS = 4
WIDEST = 8  # vectors of a tile

Triple = tuple[int, ...]  # of three axes


@dataclass(frozen=True)
class Line:
    """A correlation along one axis: `axis` gives the windows over the source, and position first + i*step of the result
    is window i. taps: the kernel's own numbers of the axis's taps."""

    axis: Axis
    first: int
    step: int
    taps: tuple[int, ...]


@hashed_once
@dataclass(frozen=True)
class Correlation:
    """For each group, K results of C channels of a source, along three axes."""

    N: int
    G: int
    C: int
    K: int
    kernel_size: Triple
    lines: tuple[Line, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(line.axis for line in self.lines)

    @property
    def flops(self) -> int:
        taps = math.prod(axis.taps for axis in self.axes)
        return 2 * self.N * self.G * self.K * self.C * taps * math.prod(axis.windows for axis in self.axes)


def three(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return *(Axis.of_points(1) for _ in range(3 - len(axes))), *axes


def forward(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...]) -> Correlation:
    lines = tuple(Line(axis, 0, 1, tuple(range(axis.taps))) for axis in three(axes))
    return Correlation(n, groups, c, k, tuple(axis.taps for axis in three(axes)), lines)


def gradients(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...]) -> Iterator[Correlation]:
    """The correlations of dy that together make dx: one for each residue class of the strides (axis.ClassAxis)."""
    kernel = tuple(axis.taps for axis in three(axes))
    each = (
        [
            Line(each.gradient, each.first, axis.stride, tuple(range(each.tap, axis.taps, each.step))[::-1])
            for each in axis.classes()
        ]
        for axis in three(axes)
    )
    for lines in itertools.product(*each):
        yield Correlation(n, groups, k, c, kernel, lines)


class Layout(NamedTuple):
    """Blocks of images, and of windows along the first two axes; the source of each is a run of rows.

    weights: of every tap, its place in a kernel. offsets: of every product of a result, in the run. extents: of a plane
    in the run. phases: planes that a plane of the source is split into by the strides. ld: positions of a run's
    results. run: elements of a run. block: images, depths and rows. windows, steps, origins: of the axes. places: of
    the first result along each axis, and the step to the next.
    """

    block: Triple
    windows: Triple
    steps: Triple
    origins: Triple
    places: tuple[tuple[int, int], ...]
    extents: Triple
    phases: Triple
    weights: np.ndarray
    offsets: np.ndarray
    ld: int
    run: int
    blocks: int


@lru_cache(1024)
def layout_of(c: Correlation, dtype: np.dtype) -> Layout:
    axes = c.axes
    shifts = [[tap * axis.dilation // axis.stride for tap in range(axis.taps)] for axis in axes]
    parts = [[tap * axis.dilation % axis.stride for tap in range(axis.taps)] for axis in axes]
    phases = tuple(max(part) + 1 for part in parts)
    Z, P, Q = (axis.windows for axis in axes)
    tall_d, tall_h, _ = (axis.windows + max(shift) for axis, shift in zip(axes, shifts, strict=True))
    shared = [_shared(axis, max(shift), phase) for axis, shift, phase in zip(axes, shifts, phases, strict=True)]
    pitch_d, pitch_h, pitch_w = (
        max(axis.windows, axis.windows + max(shift) - zeros)
        for axis, shift, zeros in zip(axes, shifts, shared, strict=True)
    )
    line = c.C * math.prod(phases) * pitch_w * dtype.itemsize
    images, depths, rows = 1, Z, P
    if Z * P * pitch_w < SHORT:
        plane = pitch_d * pitch_h * pitch_w
        images = max(1, min(c.N, SHORT // plane, RUN_BYTES // max(1, line * pitch_d * pitch_h)))
        while images > 1 and -(-c.N // images) < BLOCKS and c.flops * images > BLOCK_FLOPS * c.N:
            images = (images + 1) // 2

    def too_large(depths: int, rows: int) -> bool:
        share = depths * rows / (Z * P)
        few = c.N * -(-Z // depths) * -(-P // rows) < BLOCKS and c.flops / c.N * share > BLOCK_FLOPS
        return few or line * (depths + tall_d - Z) * (rows + tall_h - P) > RUN_BYTES

    while images == 1 and too_large(depths, rows) and (depths > 1 or rows > FEWEST_ROWS):
        depths, rows = ((depths + 1) // 2, rows) if depths > 1 else (depths, (rows + 1) // 2)
    extents = (
        pitch_d if images > 1 else depths + tall_d - Z,
        pitch_h if rows == P and (images > 1 or depths > 1) else rows + tall_h - P,
        pitch_w,
    )
    plane = images * math.prod(extents)
    taps = [
        ((part[0] * phases[1] + part[1]) * phases[2] + part[2]) * plane
        + (shift[0] * extents[1] + shift[1]) * extents[2]
        + shift[2]
        for part, shift in zip(itertools.product(*parts), itertools.product(*shifts), strict=True)
    ]
    _, R, S = c.kernel_size
    weights = [(t * R + r) * S + s for t, r, s in itertools.product(*(line.taps for line in c.lines))]
    channels = np.arange(c.C)[:, None] * (math.prod(phases) * plane)
    offsets = (channels + np.array(taps, np.int64)).reshape(-1)
    results = (((images - 1) * extents[0] + depths - 1) * extents[1] + rows - 1) * extents[2] + Q
    width = WIDEST * vectors.lanes(dtype)
    ld = -(-results // width) * width
    run = max(c.C * math.prod(phases) * plane, int(offsets.max(initial=0)) + ld)
    blocks = -(-c.N // images) * -(-Z // depths) * -(-P // rows)
    return Layout(
        (images, depths, rows),
        (Z, P, Q),
        tuple(axis.stride for axis in axes),
        tuple(-axis.before for axis in axes),
        tuple((line.first, line.step) for line in c.lines),
        extents,
        phases,
        np.array(weights),
        offsets,
        ld,
        run,
        blocks,
    )


def _shared(axis: Axis, reach: int, phases: int) -> int:
    """Zeros that end a line of windows' positions and begin the next: both may be the same elements."""
    starts = [phase - axis.before for phase in range(phases)]
    before = min(max(0, -(start // axis.stride)) for start in starts)
    inside = (max(0, (axis.extent - 1 - start) // axis.stride + 1) for start in starts)
    after = min(axis.windows + reach - count for count in inside)
    return max(0, min(before, after))


FAR = 4  # taps or windows apart
LONG = 64  # taps for each window


def is_sparse(axes: tuple[Axis, ...]) -> bool:
    """Whether most of what lies under the windows is read by none of them, or few windows have very many taps: a run
    would be mostly what nobody needs."""
    return any(
        axis.stride > FAR * axis.taps or axis.dilation > FAR * axis.windows or axis.taps > LONG * axis.windows
        for axis in axes
    )
