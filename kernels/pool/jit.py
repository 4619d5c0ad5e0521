"""Pooling and its gradients by compiled loops; what they do not suit runs on the plain page.

Windows are laid out as a correlation of every channel with one filter has them (jit/layout.py): for max pooling the
products are comparisons, for average pooling the filter is 1. Images have three axes, (D, H, W), of which the first
have extent 1 where there are fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..jit.blocks import over_blocks
from ..jit.compiled import allocating, compiled, over_images, wide
from ..jit.correlate import DEPTH, multiply
from ..jit.layout import Layout, forward, gradients, is_sparse, layout_of, three
from ..jit.planes import block_of, lay_out, lay_out_numbers, put_block
from ..jit.reduce import line_sum
from ..jit.vectors import BYTES as WIDTH
from ..jit.vectors import lanes, make_claims, make_highest
from ..layout import by_channels_first
from ..types import Shape
from . import cpu, jit_nhwc
from .cpu import adaptive_avg_pool, adaptive_avg_pool_grad, max_pool_indices
from .geometry import AvgPoolGeometry, PoolGeometry
from .jit_nhwc import WORTH
from .tables import divisors_of, windows_of
from .window_loops import (
    max_windows,
    mean_pairs,
    mean_windows,
    scatter_pairs,
    scatter_windows,
    spread_pairs,
    spread_windows,
)

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "max_pool",
    "max_pool_grad",
    "max_pool_indices",
]

FEW = 1 << 12  # taps of all windows
CLAIMS = 20  # taps of a window
VECTORS = 4  # of windows that are computed together
LOCAL = 1 << 19  # bytes of an image's planes that stay in the second cache
PARTS = 16  # of a large call, at least

_highest, _highest1, _claims = make_highest(VECTORS), make_highest(1), make_claims(VECTORS)


class Plan(NamedTuple):
    """is_global: one window is the whole image. is_small: windows are so few that each is met by itself. suits: laid
    out, images suit the loops below. is_paired: windows lie side by side from the first position on, two columns wide.
    covers_all: these leave out no position. reaches_all: of each residue class of the strides, some tap does.
    first_taps: of every window the first tap inside the image, or the number that marks one wholly in padding. planes:
    shapes of x and of y as planes of three axes; rows: as planes of one."""

    is_global: bool
    is_small: bool
    suits: bool
    is_paired: bool
    covers_all: bool
    reaches_all: bool
    first_taps: np.ndarray
    planes: tuple[Shape, Shape]
    rows: tuple[Shape, Shape]


@lru_cache(1024)
def _plan(g: PoolGeometry) -> Plan:
    first, empty = np.zeros(1, np.int64), np.zeros(1, bool)
    for axis in g.axes:
        low, high = np.array([axis.taps_inside(p) for p in range(axis.windows)]).T
        first = np.add.outer(first * axis.taps, low).reshape(-1)
        empty = np.logical_or.outer(empty, low == high).reshape(-1)
    first[empty] = g.no_tap
    is_global = all((a.taps, a.windows, a.before, a.dilation) == (a.extent, 1, 0, 1) for a in g.axes)
    taps = math.prod(g.kernel_size)
    is_small = 0 < math.prod(g.y_shape) * taps <= FEW and taps <= DEPTH  # a sum is one chain, as on layouts
    suits = g.N * g.C > 0 and (is_global or is_small or not is_sparse(g.axes))
    is_paired = g.axes[-1].taps == 2 and all(axis.is_tiled for axis in g.axes)
    covers_all = all(axis.windows * axis.taps == axis.extent for axis in g.axes)
    reaches_all = all(residue.gradient.taps for axis in g.axes for residue in axis.classes()) if suits else False
    planes = _planes(g)
    rows = (-1, math.prod(planes[0][1:])), (-1, math.prod(planes[1][1:]))
    first_taps = first.astype(g.tap_dtype).reshape([axis.windows for axis in three(g.axes)])
    return Plan(is_global, is_small, suits, is_paired, covers_all, reaches_all, first_taps, planes, rows)


def _planes(g: PoolGeometry) -> tuple[Shape, Shape]:
    return (-1, *_three(g.extents)), (-1, *_three(g.windows))


class Scattering(NamedTuple):
    """loop(dy, taps, dx, *constants, low, high) for some planes, of which the shapes are those of dy, taps and dx."""

    loop: Callable[..., None]
    shapes: tuple[Shape, Shape, Shape]
    constants: tuple[Any, ...]


@lru_cache(1024)
def _scattering(g: PoolGeometry) -> Scattering:
    x_planes, y_planes = _planes(g)
    shapes, axes, windows = (y_planes, y_planes, x_planes), three(g.axes), windows_of(g)
    if axes[-1].is_tiled and axes[-1].taps == 2 and not g.overlapping:
        covers_all = all(axis.is_tiled and axis.windows * axis.taps == axis.extent for axis in axes)
        return Scattering(scatter_pairs, shapes, (*windows[:3], not covers_all))
    _, _, H, W = x_planes
    pitches = np.array([H * W, W, 1])
    each = np.indices(y_planes[1:]).reshape(3, -1)
    along = np.stack([table[i] for table, i in zip(windows[1:], each, strict=True)], 1)  # (windows, axes, 3)
    numbers = np.indices([axis.taps for axis in axes]).reshape(3, -1).T.copy()
    ranges = along[:, :, 1:].reshape(-1, 6)
    edges = np.flatnonzero((along[:, :, 2] - along[:, :, 1] < windows.kernel[0]).any(1))
    constants = along[:, :, 0] @ pitches, numbers * windows.kernel[1] @ pitches
    return Scattering(scatter_windows, shapes, (*constants, np.column_stack([edges, ranges[edges]]), numbers))


class Parts(NamedTuple):
    """How planes are shared out: so many at a time, layouts of so many and of the rest, elements of scratch memory."""

    planes: int
    number: int
    worth: int
    layouts: tuple[Layout, ...]
    of_rest: tuple[Layout, ...]
    scratch: int


@lru_cache(1024)
def _parts(g: PoolGeometry, n: int, dtype: np.dtype, of_gradient: bool) -> Parts:
    """Of n planes, which are images of one channel here. A gradient has a layout for each class of its positions that
    some tap reaches."""
    plane = max(math.prod(g.extents), math.prod(g.windows))
    worth = n * plane // WORTH
    planes = max(1, min(-(-n // PARTS), LOCAL // (plane * dtype.itemsize))) if worth else n

    def layouts(n: int) -> tuple[Layout, ...]:
        all_of_them = gradients(n, 1, 1, 1, g.axes) if of_gradient else [forward(n, 1, 1, 1, g.axes)]
        return tuple(layout_of(c, dtype) for c in all_of_them if all(axis.taps for axis in c.axes))

    whole = layouts(planes)
    scratch = max((max(at.run, at.ld) for at in whole), default=0)
    return Parts(planes, -(-n // planes), worth, whole, layouts(n % planes or planes), scratch)


@jit_nhwc.where_last(jit_nhwc.max_pool)
@by_channels_first
def max_pool(x: np.ndarray, geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    g = geometry
    plan = _plan(g)
    if not plan.suits:
        return cpu.max_pool(x, g)
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)
    if plan.is_global:
        over_images(partial(_over_planes, _max_global, (*plan.rows, plan.rows[1]), ()), (x,), (y, taps))
    elif plan.is_small:
        shapes = (*plan.planes, plan.planes[1])
        over_images(partial(_by_windows, max_windows, shapes, (*windows_of(g), g.no_tap)), (x,), (y, taps))
    else:
        over_images(partial(_over_layouts, _max_pool, (plan.first_taps,), g, False), (x,), (y, taps))
    return y, taps


@jit_nhwc.where_last(jit_nhwc.max_pool_grad)
@by_channels_first
def max_pool_grad(dy: np.ndarray, taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g = geometry
    dx = np.empty(g.x_shape, dy.dtype)
    if dx.size and _by_claims(g):
        over_images(partial(_over_layouts, _max_pool_grad, (), g, True), (dy, taps), (dx,))
    elif dx.size:
        over_images(partial(_over_planes, *_scattering(g)), (dy, taps), (dx,))
    return dx


def _by_claims(g: PoolGeometry) -> bool:
    """Whether windows overlap so much that every position asks each of their few taps whether it won there. With
    strides, adding each window's dy in memory is as fast."""
    plan, taps = _plan(g), math.prod(g.kernel_size)
    laid_out = plan.suits and not plan.is_small and not plan.is_global
    return laid_out and max(g.stride) == 1 and g.overlapping and taps <= CLAIMS


@jit_nhwc.where_last(jit_nhwc.avg_pool)
@by_channels_first
def avg_pool(x: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    plan = _plan(g)
    if not plan.suits:
        return cpu.avg_pool(x, g)
    y, divisors = np.empty(g.y_shape, x.dtype), divisors_of(g, wide(x.dtype))
    if plan.is_global:
        over_images(partial(_over_planes, _mean_global, plan.rows, (divisors,)), (x,), (y,))
    elif plan.is_small:
        over_images(partial(_by_windows, mean_windows, plan.planes, (*windows_of(g), divisors[0, 0])), (x,), (y,))
    elif plan.is_paired:
        constants = plan.planes, (divisors, windows_of(g).kernel)
        over_images(partial(_over_planes, mean_pairs, *constants), (x,), (y,))
    else:
        over_images(partial(_over_layouts, _avg_pool, (divisors,), g, False), (x,), (y,))
    return y


@jit_nhwc.where_last(jit_nhwc.avg_pool_grad)
@by_channels_first
def avg_pool_grad(dy: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g = geometry
    plan = _plan(g)
    if not plan.suits:
        return cpu.avg_pool_grad(dy, g)
    dx, divisors = (np.empty if plan.reaches_all else np.zeros)(g.x_shape, dy.dtype), divisors_of(g, wide(dy.dtype))
    if plan.is_global:
        over_images(partial(_over_planes, _spread_global, plan.rows[::-1], (divisors,)), (dy,), (dx,))
    elif plan.is_small:
        shapes = plan.planes[::-1]
        over_images(partial(_by_windows, spread_windows, shapes, (*windows_of(g), divisors[0, 0])), (dy,), (dx,))
    elif plan.is_paired:
        constants = plan.planes[::-1], (divisors, windows_of(g).kernel, not plan.covers_all)
        over_images(partial(_over_planes, spread_pairs, *constants), (dy,), (dx,))
    else:
        over_images(partial(_over_layouts, _avg_pool_grad, (divisors,), g, True), (dy,), (dx,))
    return dx


def _by_windows(
    loop: Callable[..., None], shapes: tuple[Shape, ...], constants: tuple[Any, ...], *arrays: np.ndarray
) -> None:
    """loop(*arrays, *constants) for arrays of these shapes."""
    loop(*[a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True)], *constants)


def _over_planes(
    loop: Callable[..., None], shapes: tuple[Shape, ...], constants: tuple[Any, ...], *arrays: np.ndarray
) -> None:
    """loop(*arrays, *constants, low, high) for planes low:high of the arrays, which have these shapes."""
    planes = [a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True)]
    large = max(a.size for a in arrays)
    over_blocks(lambda low, high: loop(*planes, *constants, low, high), len(planes[0]), large // WORTH, arrays[0].dtype)


def _over_layouts(
    loop: Callable[..., None], constants: tuple[Any, ...], g: PoolGeometry, of_gradient: bool, *arrays: np.ndarray
) -> None:
    """loop(*arrays, *constants, layout, width, scratch) for every layout and some planes at a time."""
    planes = [a.reshape(-1, 1, *_three(a.shape[2:])) for a in arrays]
    n, dtype = len(planes[0]), arrays[0].dtype
    parts = _parts(g, n, dtype, of_gradient)
    width = VECTORS * lanes(dtype)

    def work(low: int, high: int, *scratch: np.ndarray) -> None:
        for part in range(low, high):
            first = part * parts.planes
            some = [a[first : first + parts.planes] for a in planes] if parts.number > 1 else planes
            for at in parts.of_rest if part == parts.number - 1 else parts.layouts:
                loop(*some, *constants, at, width, *scratch)

    over_blocks(work, parts.number, parts.worth, dtype, parts.scratch, parts.scratch, parts.scratch)


def _three(extents: tuple[int, ...]) -> tuple[int, ...]:
    return *(1,) * (3 - len(extents)), *extents


@compiled
def _max_pool(x, y, taps, first_taps, at, width, run, values, numbers):
    lowest, same, winners = x.dtype.type(-np.inf), x.dtype.type(-0.0), numbers.view(np.int32)
    for u in range(at.blocks):
        first, count, corner, length = block_of(at, u, len(x))
        clear = u == 0 or at.blocks > len(x)
        lay_out(x, run, lowest, clear, first[0], at.block[0], 0, 1, at.steps, corner, at.phases, at.extents)
        for q in range(0, length, width):
            _highest(run, q, at.offsets, at.offsets.size, values, winners, q)
        put_block(y, 0, values, 0, at, first, count, same)
        for image in range(count[0]):
            for z in range(count[1]):
                for p in range(count[2]):
                    place = ((image * at.extents[0] + z) * at.extents[1] + p) * at.extents[2]
                    row, none = (
                        taps[first[0] + image, 0, first[1] + z, first[2] + p],
                        first_taps[first[1] + z, first[2] + p],
                    )
                    for q in range(row.size):
                        row[q] = none[q] if winners[place + q] < 0 else winners[place + q]


@allocating
def _avg_pool(x, y, divisors, at, width, run, values, ones):
    zero = x.dtype.type(0)
    weights = ones[: at.offsets.size].reshape(-1, 1)
    weights[:] = 1
    for u in range(at.blocks):
        first, count, corner, length = block_of(at, u, len(x))
        clear = u == 0 or at.blocks > len(x)
        lay_out(x, run, zero, clear, first[0], at.block[0], 0, 1, at.steps, corner, at.phases, at.extents)
        multiply(run, weights, at.offsets, values, at.ld, length, length, length, width // VECTORS)
        put_block(y, 0, values, 0, at, first, count, zero)
        for image in range(first[0], first[0] + count[0]):
            for z in range(first[1], first[1] + count[1]):
                for p in range(first[2], first[2] + count[2]):
                    y[image, 0, z, p] /= divisors[0, 0, z, p]


@allocating
def _avg_pool_grad(dy, dx, divisors, at, width, run, values, shares):
    """shares: the divisors, laid out as dy is."""
    zero, one = dy.dtype.type(0), dy.dtype.type(1)
    plane = at.extents[0] * at.extents[1] * at.extents[2]
    ones = np.ones((at.offsets.size, 1), dy.dtype)
    for u in range(at.blocks):
        first, count, corner, length = block_of(at, u, len(dy))
        clear = u == 0 or at.blocks > len(dy)
        lay_out(dy, run, zero, clear, first[0], at.block[0], 0, 1, at.steps, corner, at.phases, at.extents)
        if clear:
            lay_out(divisors, shares, one, True, 0, 1, 0, 1, at.steps, corner, at.phases, at.extents)
        for image in range(count[0]):
            for i in range(plane):
                run[image * plane + i] /= shares[i]
        multiply(run, ones, at.offsets, values, at.ld, length, length, length, width // VECTORS)
        put_block(dx, 0, values, 0, at, first, count, zero)


@compiled
def _max_pool_grad(dy, taps, dx, at, width, run, values, numbers):
    """dx = the sum of dy over the windows whose tap stands there, in their order, for windows without strides."""
    zero, same, winners = dy.dtype.type(0), dy.dtype.type(-0.0), numbers.view(np.int32)
    for u in range(at.blocks):
        first, count, corner, length = block_of(at, u, len(dy))
        clear = u == 0 or at.blocks > len(dy)
        lay_out(dy, run, zero, clear, first[0], at.block[0], 0, 1, at.steps, corner, at.phases, at.extents)
        lay_out_numbers(taps, winners, -1, clear, first[0], at.block[0], corner, at.extents)
        for q in range(0, length, width):
            _claims(run, winners, q, at.offsets, at.weights, at.offsets.size, values, q)
        put_block(dx, 0, values, 0, at, first, count, same)


@allocating
def _max_global(x, y, taps, low, high):
    width = WIDTH // x.itemsize
    steps = np.arange(x.shape[1] // width) * width
    values, winners = np.empty(width, x.dtype), np.empty(width, np.int32)
    for u in range(low, high):
        plane = x[u]
        highest, tap = x.dtype.type(-np.inf), 0
        if steps.size:
            _highest1(x.reshape(-1), u * plane.size, steps, steps.size, values, winners, 0)
            for i in range(width):
                at = winners[i] * width + i
                equal = values[i] == highest and at < tap
                if winners[i] >= 0 and (values[i] > highest or equal or _is_nan_at(values[i], at, highest, tap)):
                    highest, tap = values[i], at
        for i in range(steps.size * width, plane.size):
            if plane[i] > highest or plane[i] != plane[i]:
                highest, tap = plane[i], i
        y[u, 0], taps[u, 0] = highest, tap


@compiled
def _is_nan_at(value, at, highest, tap):
    """Whether this NaN is the last so far."""
    return value != value and (highest == highest or at > tap)


@compiled
def _mean_global(x, y, divisors, low, high):
    for u in range(low, high):
        y[u, 0] = line_sum(x[u]) / divisors[0, 0, 0, 0, 0]


@compiled
def _spread_global(dy, dx, divisors, low, high):
    for u in range(low, high):
        dx[u] = dy[u, 0] / divisors[0, 0, 0, 0, 0]
