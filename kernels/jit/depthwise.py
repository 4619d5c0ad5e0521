"""The weight gradient of one channel per group: for every tap a dot product of dy with the laid-out source.

Dot products of CHAIN elements are added in float64, in an order that depends on the shapes alone.
"""

from __future__ import annotations

import numpy as np

from ..axis import Axis
from .blocks import over_blocks
from .compiled import compiled, regrouped
from .correlate import with_three_axes
from .layout import forward, layout_of
from .planes import lay_out, put_row

CHAIN = 2048
WORTH = 1 << 18  # flops: fewer are not worth a second thread


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, axes: tuple[Axis, ...]) -> None:
    """dw (K, 1, *R), x (N, C, *X) with K a multiple of C; all are contiguous."""
    C, K = x.shape[1], dy.shape[1]
    c = forward(len(x), C, 1, K // C, axes)
    at = layout_of(c, x.dtype)
    src, gradients, out = with_three_axes(x), with_three_axes(dy), dw.reshape(K, -1)

    def work(low: int, high: int, run: np.ndarray, line: np.ndarray) -> None:
        _weight_grad(
            gradients, src, out, at.offsets, at.block, at.steps, at.origins, at.phases, at.extents, run, line, low, high
        )

    over_blocks(work, C, c.flops > WORTH, x.dtype, at.run, at.ld)


@compiled
def _weight_grad(dy, x, dw, offsets, block, steps, origins, phases, extents, run, line, low, high):
    """For channels low:high of x."""
    N, C = x.shape[:2]
    _, K, Z, P, Q = dy.shape
    multiplier, taps, flat, zero = K // C, offsets.size, dy.reshape(-1), x.dtype.type(0)
    total = np.empty((multiplier, taps), np.float64)
    for channel in range(low, high):
        total[:] = 0
        for n0 in range(0, N, block[0]):
            for z0 in range(0, Z, block[1]):
                for p0 in range(0, P, block[2]):
                    images, depths, rows = min(block[0], N - n0), min(block[1], Z - z0), min(block[2], P - p0)
                    corner = origins[0] + z0 * steps[0], origins[1] + p0 * steps[1], origins[2]
                    lay_out(x, run, n0, block[0], channel, 1, steps, corner, phases, extents)
                    length = (((images - 1) * extents[0] + depths - 1) * extents[1] + rows - 1) * extents[2] + Q
                    for m in range(multiplier):
                        k = channel * multiplier + m
                        line[:length] = 0
                        for image in range(images):
                            for z in range(depths):
                                for p in range(rows):
                                    at = ((image * extents[0] + z) * extents[1] + p) * extents[2]
                                    place = ((((n0 + image) * K + k) * Z + z0 + z) * P + p0 + p) * Q
                                    put_row(line, at, 1, flat, place, Q, zero)
                        for first in range(0, length, CHAIN):
                            gradients = line[first : min(length, first + CHAIN)]
                            for t in range(0, taps, 3):
                                second, third = min(t + 1, taps - 1), min(t + 2, taps - 1)
                                sums = _dots(gradients, run[first:], offsets[t], offsets[second], offsets[third])
                                for i in range(min(3, taps - t)):
                                    total[m, t + i] += sums[i]
        for m in range(multiplier):
            for t in range(taps):
                dw[channel * multiplier + m, t] = total[m, t]


@regrouped
def _dots(line, run, first, second, third):
    zero = line.dtype.type(0)
    a, b, c = zero, zero, zero
    x, y, z = run[first : first + line.size], run[second : second + line.size], run[third : third + line.size]
    for i in range(line.size):
        a += line[i] * x[i]
        b += line[i] * y[i]
        c += line[i] * z[i]
    return a, b, c
