"""How a correlation is cut into blocks, and where in the run of a block's source every tap stands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """For each group, K results of C channels of a source, along three axes.

    lines: of each axis the residue classes of a stride, in whose turns the results stand; mostly one.
    """

    N: int
    G: int
    C: int
    K: int
    kernel_size: Triple
    lines: tuple[tuple[Line, ...], ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Each with the windows of its first class, which no other has more of, from where any class's first begins."""
        return tuple(
            replace(lines[0].axis, before=max((line.axis.before for line in lines if line.taps), default=0))
            for lines in self.lines
        )

    @property
    def flops(self) -> int:
        """A multiply and an add for each product."""
        products = (sum(len(line.taps) * line.axis.windows for line in lines) for lines in self.lines)
        return 2 * self.N * self.G * self.K * self.C * math.prod(products)


def three(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return *(Axis.of_points(1) for _ in range(3 - len(axes))), *axes


def forward(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...]) -> Correlation:
    lines = tuple((Line(axis, 0, 1, tuple(range(axis.taps))),) for axis in three(axes))
    return Correlation(n, groups, c, k, tuple(axis.taps for axis in three(axes)), lines)


def input_grad(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...]) -> Correlation:
    """The correlation of dy that dx is: in a class of each stride for every residue (axis.ClassAxis)."""
    lines = tuple(
        tuple(
            Line(each.gradient, each.first, axis.stride, tuple(range(each.tap, axis.taps, each.step))[::-1])
            for each in axis.classes()
        )
        for axis in three(axes)
    )
    return Correlation(n, groups, k, c, tuple(axis.taps for axis in three(axes)), lines)


def gradients(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...]) -> Iterator[Correlation]:
    """The same, one class at a time."""
    joint = input_grad(n, groups, c, k, axes)
    for lines in itertools.product(*joint.lines):
        yield replace(joint, lines=tuple((line,) for line in lines))


class Layout(NamedTuple):
    """Blocks of images, and of windows along the first two axes; the source of each is a run of rows.

    weights: of every tap, its place in a kernel. offsets: of every product of a result, in the run. Both are one class
    after another; classes: their numbers along the axes, ends: where the taps of each end. extents: of a plane in the
    run. phases: planes that a plane of the source is split into by the strides. ld: positions of a run's results. run:
    elements of a run. block: images, depths and rows. windows, steps, origins: of the axes. places: of the first result
    along each axis, and the step to the next of its class.
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
    classes: Triple
    ends: np.ndarray
    ld: int
    run: int
    blocks: int


@lru_cache(1024)
def layout_of(c: Correlation, dtype: np.dtype) -> Layout:
    axes = c.axes
    places = [
        [
            [divmod(axis.before + line.axis.position(0, tap), axis.stride) for tap in range(line.axis.taps)]
            for line in lines
        ]
        for axis, lines in zip(axes, c.lines, strict=True)
    ]
    every = [list(itertools.chain(*each)) for each in places]
    reaches = [max((shift for shift, _ in each), default=0) for each in every]
    phases = tuple(max((part for _, part in each), default=0) + 1 for each in every)
    Z, P, Q = (axis.windows for axis in axes)
    tall_d, tall_h, _ = (axis.windows + reach for axis, reach in zip(axes, reaches, strict=True))
    pitch_d, pitch_h, pitch_w = (
        axis.windows + max(0, reach - _shared(axis, reach, phase))
        for axis, reach, phase in zip(axes, reaches, phases, strict=True)
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
    _, R, S = c.kernel_size
    channels = np.arange(c.C)[:, None] * (math.prod(phases) * plane)
    weights, offsets, ends = [], [], []
    for lines, taps in zip(itertools.product(*c.lines), itertools.product(*places), strict=True):
        weights += [(t * R + r) * S + s for t, r, s in itertools.product(*(line.taps for line in lines))]
        at = [
            ((part_d * phases[1] + part_h) * phases[2] + part_w) * plane + (d * extents[1] + h) * extents[2] + w
            for (d, part_d), (h, part_h), (w, part_w) in itertools.product(*taps)
        ]
        offsets.append((channels + np.array(at, np.int64)).reshape(-1))
        ends.append(len(weights))
    products = np.concatenate(offsets)
    results = (((images - 1) * extents[0] + depths - 1) * extents[1] + rows - 1) * extents[2] + Q
    width = WIDEST * vectors.lanes(dtype)
    ld = -(-results // width) * width + (width if images > 1 else 0)  # a tile may begin at any image's start
    run = max(c.C * math.prod(phases) * plane, int(products.max(initial=0)) + ld)
    blocks = -(-c.N // images) * -(-Z // depths) * -(-P // rows)
    return Layout(
        (images, depths, rows),
        (Z, P, Q),
        tuple(axis.stride for axis in axes),
        tuple(-axis.before for axis in axes),
        tuple((lines[0].first, lines[0].step) for lines in c.lines),
        extents,
        phases,
        np.array(weights, np.int64),
        products,
        tuple(map(len, c.lines)),
        np.array(ends),
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
