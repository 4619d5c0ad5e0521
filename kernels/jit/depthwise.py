"""The weight gradient of one channel per group: for every tap a dot product of dy with the laid-out source.

Dot products of CHAIN elements are added in float64, in an order that depends on the shapes alone.
"""

from __future__ import annotations

import numpy as np

from ..axis import Axis
from .blocks import over_blocks
from .compiled import allocating
from .correlate import with_three_axes
from .layout import forward, layout_of
from .planes import block_of, get_block, lay_out
from .vectors import make_dots

CHAIN = 2048
TAPS = 6  # sums at a time
WORTH = 1 << 21  # flops: fewer are not worth a second thread

_dots = make_dots(TAPS)


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, axes: tuple[Axis, ...]) -> None:
    """dw (K, 1, *R), x (N, C, *X) with K a multiple of C; all are contiguous."""
    C, K = x.shape[1], dy.shape[1]
    c = forward(len(x), C, 1, K // C, axes)
    at = layout_of(c, x.dtype)
    src, gradients, out = with_three_axes(x), with_three_axes(dy), dw.reshape(K, -1)

    def work(low: int, high: int, run: np.ndarray, line: np.ndarray) -> None:
        _weight_grad(gradients, src, out, at, run, line, low, high)

    over_blocks(work, C, c.flops // WORTH, x.dtype, at.run, at.ld)


@allocating
def _weight_grad(dy, x, dw, at, run, line, low, high):
    """For channels low:high of x."""
    multiplier, taps, zero = dy.shape[1] // x.shape[1], at.offsets.size, x.dtype.type(0)
    total, sums = np.empty((multiplier, taps), np.float64), np.empty(TAPS, x.dtype)
    by_strips = at.blocks > -(-len(x) // at.block[0])
    offsets = np.empty(max(taps, TAPS), np.int64)
    offsets[:taps], offsets[taps:] = at.offsets, 0
    for channel in range(low, high):
        total[:] = 0
        for u in range(at.blocks):
            first, count, corner, length = block_of(at, u, len(x))
            clear = (channel == low and u == 0) or by_strips or count[0] < at.block[0]
            if clear:
                line[:] = zero
            lay_out(x, run, zero, clear, first[0], at.block[0], channel, 1, at.steps, corner, at.phases, at.extents)
            for m in range(multiplier):
                get_block(dy, channel * multiplier + m, line, at, first, count)
                for i in range(0, length, CHAIN):
                    for t in range(0, taps, TAPS):
                        t0 = max(0, min(t, taps - TAPS))
                        _dots(line, i, run, i, offsets, t0, min(CHAIN, length - i), sums)
                        for tap in range(t, min(t + TAPS, taps)):
                            total[m, tap] += sums[tap - t0]
        for m in range(multiplier):
            for t in range(taps):
                dw[channel * multiplier + m, t] = total[m, t]
