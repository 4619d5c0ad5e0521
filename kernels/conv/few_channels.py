"""Configuration of src/few_channels.cu: a pure function of geometry and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.gpus import DEFAULT_BLOCK_SHARED_BYTES
from ..cuda.runtime.loader import C_TYPES
from ..cuda.windows import check_offsets, largest_power_of_two
from ..dtypes import accumulation_dtype
from .geometry import ConvGeometry

CHANNELS = 4
SHARED_BYTES = DEFAULT_BLOCK_SHARED_BYTES
MAX_THREADS = 256


@dataclass(frozen=True)
class FewChannels:
    """A thread's outputs (filters x pixels), and how a block's threads lie: filter_lanes x rows x columns."""

    kernel: ClassVar[str] = "few_channels"
    filters: int
    pixels: int
    filter_lanes: int
    rows: int
    columns: int
    filter_blocks: int
    tile_rows: int
    tile_columns: int
    vec_x: int
    shared_bytes: int

    @property
    def threads(self) -> int:
        return self.filter_lanes * self.rows * self.columns

    def blocks(self, g: ConvGeometry) -> int:
        return g.N * g.groups * self.tile_rows * self.tile_columns * self.filter_blocks

    def multiply_adds(self, g: ConvGeometry) -> int:
        """Of one block, those of its tile that overhang the image included."""
        return self.threads * self.filters * self.pixels * (g.C // g.groups) * g.R * g.S

    def defines(self, g: ConvGeometry, dtype: np.dtype) -> dict[str, object]:
        return {
            "TYPE": C_TYPES[dtype.name],
            "THREADS": self.threads,
            "BLOCKS_PER_SM": 512 // self.threads,
            "FILTERS": self.filters,
            "PIXELS": self.pixels,
            "FILTER_LANES": self.filter_lanes,
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "CHANNELS": g.C // g.groups,
            "VEC_X": self.vec_x,
            "VEC_Y": largest_power_of_two(g.Q, min(self.pixels, ALIGNMENT // dtype.itemsize)),
            "KERNEL_H": g.R,
            "KERNEL_W": g.S,
            "STRIDE_H": g.stride[0],
            "STRIDE_W": g.stride[1],
            "DILATION_H": g.dilation[0],
            "DILATION_W": g.dilation[1],
            "PAD_TOP": g.padding[0][0],
            "PAD_LEFT": g.padding[1][0],
        }


@cache
def choose(g: ConvGeometry, dtype: np.dtype) -> FewChannels | None:
    """The configuration with the fewest tiles, then the smallest image pieces; None where nothing fits."""
    if g.C // g.groups > CHANNELS or g.stride[1] > 4 or g.axes[1].reach > 16:
        return None
    check_offsets(g)
    itemsize = accumulation_dtype(dtype).itemsize
    pixels = 8 if g.stride[1] <= 2 and itemsize == 4 else 4
    filters = min(32 // itemsize, power_of_two(g.K // g.groups))
    lanes = min(8, power_of_two(-(-g.K // g.groups) // filters))
    places = max(32, min(MAX_THREADS, power_of_two(g.P * -(-g.Q // pixels)) * lanes)) // lanes
    candidates = [_of(g, itemsize, filters, pixels, lanes, places // columns, columns) for columns in powers(places)]
    fitting = [c for c in candidates if c.shared_bytes <= SHARED_BYTES]
    return min(fitting, key=lambda c: (c.tile_rows * c.tile_columns, c.shared_bytes), default=None)


def _of(g: ConvGeometry, itemsize: int, filters: int, pixels: int, lanes: int, rows: int, columns: int) -> FewChannels:
    """The shared bytes are as few_channels.cu computes them: a piece of the image, and padded weights."""
    quad = ALIGNMENT // itemsize
    image_rows = g.axes[0].span(rows)
    vec_x, reach = words(g.W, -g.padding[1][0], g.axes[1].span(pixels), quad)
    image = image_rows * ((columns - 1) * pixels * g.stride[1] + reach)
    weights = g.R * g.S * (lanes * filters + quad)
    return FewChannels(
        filters,
        pixels,
        lanes,
        rows,
        columns,
        filter_blocks=-(-(g.K // g.groups) // (lanes * filters)),
        tile_rows=-(-g.P // rows),
        tile_columns=-(-g.Q // (columns * pixels)),
        vec_x=vec_x,
        shared_bytes=(image + weights) * itemsize,
    )


def power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def powers(most: int) -> list[int]:
    return [1 << i for i in range(most.bit_length())]


def words(extent: int, first: int, count: int, quad: int) -> tuple[int, int]:
    """The words that a block fills its piece of rows of `extent` elements by, and the numbers a thread loads of it.

    A thread reads `count` from element `first` (modulo quad) on, in loads of `quad`. Wider words let the piece begin
    further ahead of `first`: they are the widest that cost the thread no further load.
    """
    reach = round_up(count, quad)
    widest = largest_power_of_two(extent, quad)
    while round_up(first % widest + count, quad) > reach:
        widest //= 2
    return widest, reach
