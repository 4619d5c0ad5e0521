"""dx of a strided convolution as one dense stride-1 correlation per residue class of the input positions.

Input row h takes part in window p through kernel row r where h + top - r*dilation = p*stride. For the rows h = a,
a + stride, ... only every (stride / gcd(stride, dilation))-th kernel row can satisfy that, so each class is an ordinary
correlation of dy with its own part of the kernel, turned round, and no product is ever made with a zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..conv.geometry import ConvGeometry
from .correlation import Correlation


class AxisClass(NamedTuple):
    """Along one axis: input positions first::stride, and the taps tap::step that reach them (`taps` of them)."""

    first: int
    positions: int
    tap: int
    step: int
    taps: int
    origin: int
    dilation: int


class Class(NamedTuple):
    """One class: its correlation of dy with `kernel(w)` fills `part(dx)`; without taps (R*S = 0) its gradient is 0."""

    problem: Correlation
    rows: AxisClass
    columns: AxisClass
    stride: tuple[int, int]

    def part(self, dx: np.ndarray) -> np.ndarray:
        return dx[..., self.rows.first :: self.stride[0], self.columns.first :: self.stride[1]]

    def kernel(self, w: np.ndarray) -> np.ndarray:
        """Weights (G, K, C, R, S) as those of the class's correlation, (G, C, K, R', S'): a view."""
        h, v = self.rows, self.columns
        return w[..., h.tap :: h.step, v.tap :: v.step][..., ::-1, ::-1].swapaxes(1, 2)


@lru_cache
def classes(g: ConvGeometry) -> list[Class]:
    """The classes that together cover dx."""
    found = []
    for rows in axis_classes(0, g.H, g.R, g):
        for columns in axis_classes(1, g.W, g.S, g):
            problem = Correlation(
                N=g.N,
                G=g.groups,
                C=g.K // g.groups,
                H=g.P,
                W=g.Q,
                K=g.C // g.groups,
                R=rows.taps,
                S=columns.taps,
                P=rows.positions,
                Q=columns.positions,
                stride=(1, 1),
                origin=(rows.origin, columns.origin),
                dilation=(rows.dilation, columns.dilation),
            )
            found.append(Class(problem, rows, columns, g.stride))
    return found


def axis_classes(axis: int, extent: int, kernel: int, g: ConvGeometry) -> Iterator[AxisClass]:
    """The classes of input rows (axis 0, of `extent` H and `kernel` R) or columns (axis 1, W and S)."""
    stride, dilation, before = g.stride[axis], g.dilation[axis], g.padding[axis][0]
    step = stride // math.gcd(stride, dilation)
    for first in range(min(stride, extent)):
        count = -(-(extent - first) // stride)
        tap = next((r for r in range(min(step, kernel)) if (first + before - r * dilation) % stride == 0), kernel)
        taps = -(-(kernel - tap) // step)
        spread = step * dilation // stride
        origin = (taps - 1) * spread - (first + before - tap * dilation) // stride
        yield AxisClass(first, count, tap, step, taps, origin, spread)
