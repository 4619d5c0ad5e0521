"""Configuration of the kernels made of src/windows.cuh: pure functions of geometry and dtype."""

from __future__ import annotations

import math
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
    """A thread's share of a plane, tile_h x tile_w, and the elements per load or store on the x and y sides.

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
        window = {name.upper(): number for name, number in numbers.items()}
        tile = {"TILE_H": self.tile_h, "TILE_W": self.tile_w, "VEC_X": self.vec_x, "VEC_Y": self.vec_y}
        threads = {"THREADS": THREADS, "BLOCKS_PER_SM": self._blocks_per_sm(g, dtype.itemsize), "LANES": self.lanes}
        return {"TYPE": C_TYPES[dtype.name], "UNROLLED": int(self.unrolled), **threads, **tile, **window}

    def _blocks_per_sm(self, g: Windowed, itemsize: int) -> int:
        """What the compiler may count on: without a bound it spills for the sake of occupancy, or takes too much."""
        words = math.prod(axis.reach + 1 for axis in g.axes) * max(1, itemsize // 4) if self.unrolled else 0
        return 6 if words <= 9 else 4 if words <= 25 else 2

    def values(self, planes: int, extents: tuple[int, int]) -> dict[str, Any]:
        """The struct Tiles of windows.cuh for planes of these extents, cut into tiles."""
        rows, columns = -(-extents[0] // self.tile_h), -(-extents[1] // self.tile_w)
        return {"number": planes * rows * columns, "rows": fast_div(rows), "columns": fast_div(columns)}

    def blocks(self, tiles: int) -> int:
        return -(-tiles * self.lanes // THREADS)


def _steps(g: Windowed) -> dict[str, int]:
    return {"kernel_h": g.R, "kernel_w": g.S, "stride_h": g.stride[0], "stride_w": g.stride[1]}


def _dilations(g: Windowed) -> dict[str, int]:
    return {"dilation_h": g.dilation[0], "dilation_w": g.dilation[1]}


def _paddings(g: Windowed) -> dict[str, int]:
    return {"pad_top": g.padding[0][0], "pad_left": g.padding[1][0]}


@cache
def window_values(g: Windowed) -> dict[str, Any]:
    """The struct Windows of windows.cuh for this geometry."""
    divisors = {name: fast_div(number) for name, number in (_steps(g) | _dilations(g)).items()}
    return {"H": g.H, "W": g.W, "P": g.P, "Q": g.Q, **divisors, **_paddings(g)}


@cache
def outputs_tiling(g: Windowed, itemsize: int, tile: int, *, share: bool = True) -> Tiling:
    """Tiles of at most `tile` outputs for visit_windows; if they may `share`, several threads take a large window.

    The columns of a tile span vec_x = tile_w * stride inputs: neighbouring threads then load neighbouring vectors.
    """
    check_offsets(g)
    if not _is_small(g, itemsize) or (share and not _overlap(g) and g.R * g.S >= WARP):
        return _shared_windows(g, itemsize) if share else Tiling(unrolled=False)
    vec_x = largest_power_of_two(g.W, ALIGNMENT // itemsize)
    stride = g.stride[1]
    if stride not in (1, 2, 4) or stride > vec_x:
        tile_w = vec_x = 1
    else:
        tile_w = largest_power_of_two(g.Q, vec_x // stride)
        vec_x = tile_w * stride
    tile_h = _rows(tile // tile_w, 1, g.N * g.C * g.P * g.Q // tile_w, g.P) if g.stride[0] <= MAX_STRIDE else 1
    return Tiling(True, tile_h, tile_w, vec_x, vec_y=tile_w)


def _shared_windows(g: Windowed, itemsize: int) -> Tiling:
    """As many lanes to a window as have four words each, of one row at a time.

    Where windows overlap, neighbouring threads that take one each load neighbours: lanes then only make up for too few
    windows.
    """
    (left, _), vec_x = g.padding[1], 1
    if g.dilation[1] == 1:
        vec_x = largest_power_of_two(math.gcd(g.W, g.S, g.stride[1], left), ALIGNMENT // itemsize)
    words = g.S // vec_x
    lanes = 1
    while 2 * lanes <= WARP and lanes < words and 8 * lanes <= g.R * words:
        lanes *= 2
    while lanes > 1 and _overlap(g) and g.N * g.C * g.P * g.Q * lanes > ENOUGH_THREADS:
        lanes //= 2
    return Tiling(unrolled=False, vec_x=vec_x, lanes=lanes)


def _overlap(g: Windowed) -> bool:
    return g.stride[0] < g.R or g.stride[1] < g.S


@cache
def inputs_tiling(g: Windowed, itemsize: int, tile: int, most_taps: int = MAX_TAPS) -> Tiling:
    """Tiles of about `tile` inputs for visit_covering: multiples of the stride along both axes.

    A window of more than `most_taps` is not unrolled.
    """
    check_offsets(g)
    vec_x = largest_power_of_two(g.W, ALIGNMENT // itemsize)
    if not _is_small(g, itemsize) or most_taps < g.R * g.S or max(g.stride) > MAX_STRIDE:
        return Tiling(unrolled=False, tile_w=largest_power_of_two(g.W, tile), vec_x=vec_x)
    stride = g.stride[1]
    tile_w = vec_x if vec_x % stride == 0 else stride
    vec_x, vec_y = largest_power_of_two(tile_w, vec_x), largest_power_of_two(g.Q, tile_w // stride)
    tile_h = _rows(tile // tile_w, g.stride[0], g.N * g.C * g.H * g.W // tile_w, g.H)
    return Tiling(True, tile_h, tile_w, vec_x, vec_y)


def flattened(g: Pooling) -> Pooling:
    """Pooling of whole planes as windows along one row of all planes, which has the same taps.

    g itself where a window is less than its plane, or more.
    """
    planes, plane = g.N * g.C, g.H * g.W
    whole = (g.R, g.S) == (g.H, g.W) and g.P * g.Q == 1 and not any(map(sum, g.padding))
    if not whole or planes == 0 or (planes + 1) * plane > MAX_INDEX:
        return g
    return replace(g, N=1, C=1, axes=(Axis.of_points(1), Axis.whole(planes * plane, planes)))  # type: ignore[type-var]


def _is_small(g: Windowed, itemsize: int) -> bool:
    """Whether the unrolled window's code and registers stay small."""
    taps = 25 if itemsize == 8 else MAX_TAPS
    return max(g.R, g.S) <= 7 and taps >= g.R * g.S and max(axis.reach for axis in g.axes) < 16


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
    """ValueError where an offset inside one plane, or a position on the padded input, does not fit 32 bits."""
    plane = max(g.H * g.W, g.P * g.Q)
    padded = max(g.H + sum(g.padding[0]), g.W + sum(g.padding[1])) + max(*g.stride, *g.dilation)
    if max(plane, padded) > MAX_INDEX:
        got = f"{g.H}x{g.W} with padding {g.padding}"
        raise value_error("CUDA path", "the plane", got, f"at most {MAX_INDEX} elements in and out, padding included")
