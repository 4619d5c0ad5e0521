"""Gathering the columns of a block: for every output pixel the C*R*S input elements under its window."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..cpu import threads
from .correlation import Block, Correlation, Part
from .planes import copy_padded


class Columns:
    """One block's columns, gathered part by part into this thread's scratch, beside `extra` arrays for the caller.

    x: (N, G, C, H, W) of any strides and dtype; columns are of dtype `acc`.
    """

    def __init__(
        self, x: np.ndarray, c: Correlation, block: Block, parts: list[Part], acc: np.dtype, *extra: tuple[int, ...]
    ) -> None:
        self.x, self.c, self.block = x, c, block
        self.in_place = _input_is_columns(x, c, acc) and block.matrices[0] == block.n1 - block.n0
        self.phases = c.stride[1] if c.dilation[1] == 1 and c.S > c.stride[1] > 1 else 1
        self.copied = not self.in_place and (x.dtype != acc or self.phases > 1 or c.reaches_outside)
        region = max(math.prod(self._region_shape(part)) for part in parts) if self.copied else 0
        depth = 0 if self.in_place else max(part.depth(c) for part in parts)
        gathered = x.shape[1] * depth * math.prod(block.extents)
        self.region, self.gathered, *self.extra = threads.scratch(acc, (region,), (gathered,), *extra)

    def _region_shape(self, part: Part) -> tuple[int, ...]:
        """(n, g, c, rows, phases, columns) of the input that the block's windows span."""
        n, p, q = self.block.extents
        height, width = self.c.region(p, q, part.r1 - part.r0)
        return n, self.x.shape[1], part.c1 - part.c0, height, self.phases, -(-width // self.phases)

    def of(self, part: Part) -> np.ndarray:
        """(n, groups, channels*rows*S, p*q), or (1, groups, channels*rows*S, n*p*q) for a joint block."""
        c, block = self.c, self.block
        x = self.x[block.n0 : block.n1, :, part.c0 : part.c1]
        top = block.p0 * c.stride[0] + part.r0 * c.dilation[0] - c.origin[0]
        left = block.q0 * c.stride[1] - c.origin[1]
        shape = self._region_shape(part)
        if self.in_place:
            return as_strided(x[..., top:, :], (*shape[:3], block.matrices[1]), (*x.strides[:3], x.strides[4]))
        if self.copied:
            region = self.region[: math.prod(shape)].reshape(shape)
            copy_padded(x, region.swapaxes(-3, -2)[..., None, :, :, :], (top, left))
        else:
            region = x[:, :, :, top : top + shape[3], None, left : left + shape[5]]
        return self._gather(region, part)

    def _gather(self, region: np.ndarray, part: Part) -> np.ndarray:
        """Copy every window of a region to its column; tap s reads phase s % phases, s // phases further on."""
        c, f = self.c, self.phases
        n, p, q = self.block.extents
        step_n, step_g, step_c, step_h, step_f, step_w = region.strides
        taps = step_h * c.dilation[0], step_w * c.dilation[1], step_f
        pixels = step_h * c.stride[0], step_w * (c.stride[1] if f == 1 else 1)
        outer: tuple[int, ...]
        inner: tuple[int, ...]
        strides: tuple[int, ...]
        if self.block.joint:
            outer, inner, strides = (1,), (n, p, q), (0, step_g, step_c, *taps, step_n, *pixels)
        else:
            outer, inner, strides = (n,), (p, q), (step_n, step_g, step_c, *taps, *pixels)
        outer = *outer, region.shape[1], region.shape[2], part.r1 - part.r0
        columns = self.gathered[: math.prod(outer) * c.S * math.prod(inner)].reshape(*outer, c.S, *inner)
        for first, last, phases in ((0, c.S // f * f, f), (c.S // f * f, c.S, c.S % f)):
            if first < last:
                shape = *outer, (last - first) // phases, phases, *inner
                windows = self._windows(region, first // f, shape, strides)
                np.copyto(columns[:, :, :, :, first:last].reshape(shape), windows)
        return columns.reshape(outer[0], outer[1], part.depth(c), -1)

    def _windows(self, region: np.ndarray, column: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """Overlapping windows of a region from `column` on."""
        if self.copied:  # as_strided in a tenth of its time
            return np.ndarray(shape, region.dtype, self.region, column * region.itemsize, strides)
        return as_strided(region[..., column:], shape, strides)


def _input_is_columns(x: np.ndarray, c: Correlation, acc: np.dtype) -> bool:
    """A 1x1 window at stride 1 over contiguous planes: the columns are the input as it lies."""
    return (
        c.R == c.S == 1
        and c.stride == (1, 1)
        and not c.reaches_outside
        and c.Q == c.W
        and x.dtype == acc
        and x.strides[3:] == (c.W * acc.itemsize, acc.itemsize)
    )
