"""Configuration of src/few_channels_input_grad.cu: a pure function of geometry and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.loader import C_TYPES
from ..cuda.windows import check_offsets, largest_power_of_two
from ..dtypes import accumulation_dtype
from .few_channels import CHANNELS, SHARED_BYTES, power_of_two, powers, words
from .geometry import ConvGeometry

MAX_THREADS = 128
POSITIONS = 4
"""Columns of dy to a thread: those of neighbours lie 16 bytes apart, where shared memory has no conflicts."""
SUMS = {4: 96, 8: 40}
"""Accumulators of a thread, by their size in bytes."""


@dataclass(frozen=True)
class FewChannelsInputGrad:
    """A thread's tile, in rows of a class and columns of dx, and how a block's threads lie: rows x columns."""

    kernel: ClassVar[str] = "few_channels_input_grad"
    tile_h: int
    tile_w: int
    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    vec_y: int
    shared_bytes: int

    @property
    def threads(self) -> int:
        return self.rows * self.columns

    def blocks(self, g: ConvGeometry) -> int:
        return g.N * g.groups * self.tile_rows * self.tile_columns * g.axes[0].class_count

    def multiply_adds(self, g: ConvGeometry) -> int:
        """Of one block of a mean class, those of its tile that overhang the image included."""
        outputs = self.threads * self.tile_h * self.tile_w * (g.C // g.groups)
        return outputs * (g.K // g.groups) * g.R * g.S // (g.stride[0] * g.stride[1])

    def defines(self, g: ConvGeometry, dtype: np.dtype) -> dict[str, object]:
        axis = g.axes[0]
        return {
            "TYPE": C_TYPES[dtype.name],
            "THREADS": self.threads,
            "BLOCKS_PER_SM": 3 * MAX_THREADS // self.threads,
            "TILE_H": self.tile_h,
            "TILE_W": self.tile_w,
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "CHANNELS": g.C // g.groups,
            "VEC_X": largest_power_of_two(g.W, largest_power_of_two(self.tile_w, ALIGNMENT // dtype.itemsize)),
            "VEC_Y": self.vec_y,
            "KERNEL_H": g.R,
            "KERNEL_W": g.S,
            "STRIDE_H": g.stride[0],
            "STRIDE_W": g.stride[1],
            "DILATION_H": g.dilation[0],
            "DILATION_W": g.dilation[1],
            "PAD_TOP": g.padding[0][0],
            "PAD_LEFT": g.padding[1][0],
            "GCD_H": axis.gcd,
            "INVERSE_H": axis.inverse,
        }


@cache
def choose(g: ConvGeometry, dtype: np.dtype) -> FewChannelsInputGrad | None:
    """The configuration with the fewest tiles, then the smallest pieces of dy; None where nothing fits."""
    channels = g.C // g.groups
    if not 0 < channels <= CHANNELS or g.stride[1] > 4 or g.S > 11 or g.axes[1].reach > 16:
        return None
    check_offsets(g)
    itemsize = accumulation_dtype(dtype).itemsize
    tile_w = POSITIONS * g.stride[1]
    tile_h = max(1, min(8, SUMS[itemsize] // (channels * tile_w)))
    class_rows = g.axes[0].class_positions
    wanted = power_of_two(-(-class_rows // tile_h) * -(-g.W // tile_w))
    places = max(32, min(MAX_THREADS, wanted))
    candidates = [_of(g, itemsize, tile_h, tile_w, places // columns, columns) for columns in powers(places)]
    fitting = [c for c in candidates if c.shared_bytes <= SHARED_BYTES]
    return min(fitting, key=lambda c: (c.tile_rows * c.tile_columns, c.shared_bytes), default=None)


def _of(g: ConvGeometry, itemsize: int, tile_h: int, tile_w: int, rows: int, columns: int) -> FewChannelsInputGrad:
    """The shared bytes are as few_channels_input_grad.cu computes them: a piece of dy, and weights."""
    axis, quad = g.axes[0], ALIGNMENT // itemsize
    taps = -(-g.R * axis.gcd // g.stride[0])
    reach, left, stride = g.axes[1].reach, g.axes[1].before, g.stride[1]
    first, last = -((reach - left) // stride), (tile_w - 1 + left) // stride
    vec_y, covering = words(g.Q, first, last - first + 1, quad)
    piece_rows = rows * tile_h + (taps - 1) * g.dilation[0] // axis.gcd
    piece_columns = (columns - 1) * POSITIONS + covering
    weights = taps * g.S * power_of_two(g.C // g.groups)
    return FewChannelsInputGrad(
        tile_h,
        tile_w,
        rows,
        columns,
        tile_rows=-(-axis.class_positions // (rows * tile_h)),
        tile_columns=-(-g.W // (columns * tile_w)),
        vec_y=vec_y,
        shared_bytes=(piece_rows * piece_columns + weights) * itemsize,
    )
