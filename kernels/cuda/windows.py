"""Configuration of the kernels made of src/windows.cuh: pure functions of geometry and dtype.

Three axes are depth, rows and columns; where there are fewer, those that are missing are points (`volume_axes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..axis import Axis, Windowed
from ..checks import value_error
from .runtime.arrays import ALIGNMENT, MAX_INDEX
from .runtime.loader import C_TYPES, fast_div

Pooling = TypeVar("Pooling", bound=Windowed)

THREADS = 128
WARP = 32
MAX_STRIDE = 4
MAX_ROWS = 4
MAX_TAPS = 49
ENOUGH_THREADS = 2**18
"""Tiles have several rows, for reuse in registers, only where this many threads remain to fill a GPU."""


@dataclass(frozen=True)
class Tiling:
    """A thread's share of a plane or slice, tile_h x tile_w, and the elements per load or store on the x and y sides.

    lanes: threads that share one tile, an output whose window is large.
    """

    unrolled: bool
    tile_h: int = 1
    tile_w: int = 1
    vec_x: int = 1
    vec_y: int = 1
    lanes: int = 1

    def defines(self, g: Windowed, dtype: np.dtype) -> dict[str, object]:
        """The #defines of windows.cuh; the window is constant where it is unrolled, else read from the parameters."""
        numbers = _dilations(g) | (_steps(g) | _paddings(g) if self.unrolled else {})
        window = {name.upper(): n for name, n in numbers.items() if not name.endswith(("_d", "_front"))}
        tile = {"TILE_H": self.tile_h, "TILE_W": self.tile_w, "VEC_X": self.vec_x, "VEC_Y": self.vec_y}
        threads = {"THREADS": THREADS, "BLOCKS_PER_SM": self._blocks_per_sm(g, dtype.itemsize), "LANES": self.lanes}
        kind = {"TYPE": C_TYPES[dtype.name], "AXES": axes_macro(len(g.axes)), "UNROLLED": int(self.unrolled)}
        return kind | threads | tile | window

    def _blocks_per_sm(self, g: Windowed, itemsize: int) -> int:
        """What the compiler may count on: without a bound it spills for the sake of occupancy, or takes too much."""
        numbers = math.prod(axis.reach + 1 for axis in g.axes[-2:]) if self.unrolled else self.tile_h * self.tile_w
        words = numbers * max(1, itemsize // 4)
        return 6 if words <= 9 else 4 if words <= 25 else 2

    def values(self, volumes: int, extents: tuple[int, ...]) -> dict[str, Any]:
        """The struct Tiles of windows.cuh for volumes, or planes, of one to three such extents, cut into tiles."""
        slices, height, width = (1,) * (3 - len(extents)) + extents
        rows, columns = -(-height // self.tile_h), -(-width // self.tile_w)
        divisors = {"slices": slices, "rows": rows, "columns": columns}
        return {"number": volumes * slices * rows * columns, **{key: fast_div(n) for key, n in divisors.items()}}

    def blocks(self, tiles: int) -> int:
        return -(-tiles * self.lanes // THREADS)


def volume_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """Depth, rows and columns: one to three axes, and points for those that are missing."""
    return (*[Axis.of_points(1)] * (3 - len(axes)), *axes)


def axes_macro(axes: int) -> int:
    """The macro AXES: one axis is two of which the first is a point."""
    return max(2, axes)


def _steps(g: Windowed) -> dict[str, int]:
    axes = dict(zip("dhw", volume_axes(g.axes), strict=True))
    kernels = {f"kernel_{name}": axis.taps for name, axis in axes.items()}
    return kernels | {f"stride_{name}": axis.stride for name, axis in axes.items()}


def _dilations(g: Windowed) -> dict[str, int]:
    return {f"dilation_{name}": axis.dilation for name, axis in zip("dhw", volume_axes(g.axes), strict=True)}


def _paddings(g: Windowed) -> dict[str, int]:
    return dict(zip(("pad_front", "pad_top", "pad_left"), (axis.before for axis in volume_axes(g.axes)), strict=True))


@cache
def window_values(g: Windowed) -> dict[str, Any]:
    """The struct Windows of windows.cuh for this geometry."""
    divisors = {name: fast_div(number) for name, number in (_steps(g) | _dilations(g)).items()}
    axes = volume_axes(g.axes)
    extents = dict(zip("DHWZPQ", [a.extent for a in axes] + [a.windows for a in axes], strict=True))
    return extents | divisors | _paddings(g)


@cache
def outputs_tiling(g: Windowed, itemsize: int, tile: int, *, share: bool = True) -> Tiling:
    """Tiles of at most `tile` outputs for visit_windows; if they may `share`, several threads take a large window.

    The columns of a tile span vec_x = tile_w * stride inputs: neighbouring threads then load neighbouring vectors.
    """
    check_offsets(g)
    _, rows, columns = volume_axes(g.axes)
    if not is_small(g, itemsize) or (share and not _overlap(g) and rows.taps * columns.taps >= WARP):
        return _shared_windows(g, itemsize) if share else Tiling(unrolled=False)
    vec_x = largest_power_of_two(columns.extent, ALIGNMENT // itemsize)
    stride = columns.stride
    if stride not in (1, 2, 4) or stride > vec_x:
        tile_w = vec_x = 1
    else:
        tile_w = largest_power_of_two(columns.windows, vec_x // stride)
        vec_x = tile_w * stride
    threads = g.N * g.C * math.prod(g.windows) // tile_w
    tile_h = _rows(tile // tile_w, 1, threads, rows.windows) if rows.stride <= MAX_STRIDE else 1
    return Tiling(True, tile_h, tile_w, vec_x, vec_y=tile_w)


def _shared_windows(g: Windowed, itemsize: int) -> Tiling:
    """As many lanes to a window as have four words each, of one row at a time.

    Where windows overlap, neighbouring threads that take one each load neighbours: lanes then only make up for too few
    windows.
    """
    columns, vec_x = g.axes[-1], 1
    if columns.dilation == 1:
        common = math.gcd(columns.extent, columns.taps, columns.stride, columns.before)
        vec_x = largest_power_of_two(common, ALIGNMENT // itemsize)
    words = columns.taps // vec_x
    lanes = 1
    while 2 * lanes <= WARP and lanes < words and 8 * lanes * vec_x <= math.prod(g.kernel_size):
        lanes *= 2
    while lanes > 1 and _overlap(g) and g.N * g.C * math.prod(g.windows) * lanes > ENOUGH_THREADS:
        lanes //= 2
    return Tiling(unrolled=False, vec_x=vec_x, lanes=lanes)


def _overlap(g: Windowed) -> bool:
    return any(axis.stride < axis.taps for axis in g.axes)


@cache
def inputs_tiling(g: Windowed, itemsize: int, tile: int, most_taps: int = MAX_TAPS) -> Tiling:
    """Tiles of about `tile` inputs for visit_covering: multiples of the stride along both axes.

    A window of more than `most_taps` is not unrolled.
    """
    check_offsets(g)
    _, rows, columns = volume_axes(g.axes)
    width, stride = columns.extent, columns.stride
    vec_x = largest_power_of_two(width, ALIGNMENT // itemsize)
    if not is_small(g, itemsize) or rows.taps * columns.taps > most_taps or max(rows.stride, stride) > MAX_STRIDE:
        return Tiling(unrolled=False, tile_w=largest_power_of_two(width, tile), vec_x=vec_x)
    tile_w = vec_x if vec_x % stride == 0 else stride
    vec_x, vec_y = largest_power_of_two(tile_w, vec_x), largest_power_of_two(columns.windows, tile_w // stride)
    tile_h = _rows(tile // tile_w, rows.stride, g.N * g.C * math.prod(g.extents) // tile_w, rows.extent)
    return Tiling(True, tile_h, tile_w, vec_x, vec_y)


def flattened(g: Pooling) -> Pooling:
    """Pooling of whole planes or volumes as windows along one row of all of them, which has the same taps.

    g itself where a window is less than all of its channel, or more.
    """
    channels, channel = g.N * g.C, math.prod(g.extents)
    whole = g.kernel_size == g.extents and math.prod(g.windows) == 1 and not any(map(sum, g.padding))
    if not whole or channels == 0 or (channels + 1) * channel > MAX_INDEX:
        return g
    axes = (Axis.of_points(1), Axis.whole(channels * channel, channels))
    return replace(g, N=1, C=1, axes=axes)  # type: ignore[type-var]


def is_small(g: Windowed, itemsize: int) -> bool:
    """Whether the unrolled window's code and registers stay small: a slice's, where there is a depth."""
    most = 25 if itemsize == 8 else MAX_TAPS
    taps = [axis.taps for axis in g.axes[-2:]]
    return max(taps) <= 7 and math.prod(taps) <= most and max(axis.reach for axis in g.axes[-2:]) < 16


def largest_power_of_two(extent: int, most: int) -> int:
    """The largest power of two that divides the extent, but at most `most`."""
    vector = 1
    while vector * 2 <= most and extent % (vector * 2) == 0:
        vector *= 2
    return vector


def _rows(most: int, multiple: int, threads: int, extent: int) -> int:
    """Rows of a tile: a multiple of `multiple`, no more than useful, halved while there would be too few threads."""
    rows = max(multiple, min(most, MAX_ROWS) // multiple * multiple)
    while rows % (2 * multiple) == 0 and (threads // rows < ENOUGH_THREADS or rows >= 2 * extent):
        rows //= 2
    return rows


def check_offsets(g: Windowed) -> None:
    """ValueError where an offset inside one channel, or a position on the padded input, does not fit 32 bits."""
    channel = max(math.prod(g.extents), math.prod(g.windows))
    padded = max(axis.padded.extent for axis in g.axes) + max(*g.stride, *g.dilation)
    if max(channel, padded) > MAX_INDEX:
        got, most = "x".join(map(str, g.extents)), f"at most {MAX_INDEX} elements in and out, padding included"
        raise value_error("CUDA path", "a channel", f"{got} with padding {g.padding}", most)
