"""The residue classes of the input gradient (src/class_axis.cuh): what the host works out for each axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .geometry import ConvGeometry


@dataclass(frozen=True)
class ClassAxis:
    """One axis: the residue classes that the input has, and the most rows of one; for their taps gcd(dilation, stride)
    and the inverse of dilation/gcd modulo stride/gcd."""

    classes: int
    rows: int
    gcd: int
    inverse: int

    @classmethod
    def of(cls, g: ConvGeometry, axis: int) -> ClassAxis:
        extent, stride, dilation = (g.H, g.W)[axis], g.stride[axis], g.dilation[axis]
        gcd = math.gcd(dilation, stride)
        return cls(min(stride, extent), -(-extent // stride), gcd, pow(dilation // gcd, -1, stride // gcd))
