"""dx of a strided convolution as one dense stride-1 correlation per residue class of the input positions.

Input row h takes part in window p through kernel row r where h + top - r*dilation = p*stride. For the rows h = a,
a + stride, ... only every (stride / gcd(stride, dilation))-th kernel row can satisfy that, so each class is an ordinary
correlation of dy with its own part of the kernel, turned round, and no product is ever made with a zero.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from ..axis import ClassAxis
from .correlation import Correlation


class Class(NamedTuple):
    """One class: its correlation of dy with `kernel(w)` fills `part(dx)`; without taps (R*S = 0) its gradient is 0."""

    problem: Correlation
    rows: ClassAxis
    columns: ClassAxis
    stride: tuple[int, ...]

    def part(self, dx: np.ndarray) -> np.ndarray:
        return dx[..., self.rows.first :: self.stride[0], self.columns.first :: self.stride[1]]

    def kernel(self, w: np.ndarray) -> np.ndarray:
        """Weights (G, K, C, R, S) as those of the class's correlation, (G, C, K, R', S'): a view."""
        h, v = self.rows, self.columns
        return w[..., h.tap :: h.step, v.tap :: v.step][..., ::-1, ::-1].swapaxes(1, 2)


@lru_cache
def classes(c: Correlation) -> list[Class]:
    """The classes that together cover dx."""
    return [
        Class(Correlation(c.N, c.G, c.K, c.C, (rows.gradient, columns.gradient)), rows, columns, c.stride)
        for rows, columns in product(*(axis.classes() for axis in c.axes))
    ]
