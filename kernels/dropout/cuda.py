"""Dropout on the GPU. The position is read on the device, so that a captured step advances."""

from __future__ import annotations

from typing import Any

from ..cuda.runtime.arrays import ALIGNMENT, contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import launch
from ..cuda.runtime.loader import C_TYPES
from ..cuda.runtime.replay import empty
from .geometry import DropoutGeometry

THREADS = 256


@launcher
def dropout(x: Any, position: Any, geometry: DropoutGeometry) -> Any:
    g, x, y = geometry, contiguous(x), empty(geometry.x_shape, x.dtype)
    if g.size:
        defines = {"TYPE": C_TYPES[x.dtype.name], "VEC": min(4, ALIGNMENT // x.itemsize), "THREADS": THREADS}
        launch(
            "dropout.cu",
            "dropout",
            defines,
            -(-g.size // (4 * THREADS)),
            THREADS,
            0,
            x=x,
            position=contiguous(position),
            y=y,
            size=g.size,
            threshold=g.threshold,
            key0=g.seed & 0xFFFFFFFF,
            key1=g.seed >> 32,
            scale=g.scale,
        )
    return y
