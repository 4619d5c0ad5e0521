"""Resizing on the GPU: a thread for every element that is written. Planes are independent."""

from __future__ import annotations

import math
from typing import Any

from ..cuda.runtime.arrays import address, chunks, contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from .geometry import Resampling, ResizeGeometry

THREADS = 128


@launcher
def upsample(x: Any, geometry: ResizeGeometry) -> Any:
    x, y = contiguous(x), empty(geometry.y_shape, x.dtype)
    _launch("upsample", geometry, y, x=x, y=y)
    return y


@launcher
def upsample_grad(dy: Any, geometry: ResizeGeometry) -> Any:
    dy, dx = contiguous(dy), empty(geometry.x_shape, dy.dtype)
    _launch("upsample_grad", geometry, dx, dy=dy, dx=dx)
    return dx


def _launch(name: str, g: ResizeGeometry, result: Any, **arrays: Any) -> None:
    """One thread to an element of the result."""
    rows, columns = g.axes
    plane = max(math.prod(g.extents), math.prod(g.size))
    check_index(name, plane=plane, **{f"positions_of_axis_{i}": _reach(axis) for i, axis in enumerate(g.axes)})
    defines = {"TYPE": C_TYPES[result.dtype.name], "LINEAR": int(rows.linear), "THREADS": THREADS}
    for first, planes in chunks(g.N * g.C, plane):
        here = {key: address(a, first, math.prod(a.shape[2:])) for key, a in arrays.items()}
        size = planes * math.prod(result.shape[2:])
        values = {"size": size, "rows": _values(rows), "columns": _values(columns), **here}
        launch(f"{name}.cu", name, defines, -(-size // THREADS), THREADS, 0, **values)


def _reach(axis: Resampling) -> int:
    """The largest number that a kernel works with along the axis."""
    return (axis.extent + 1) * axis.unit + axis.step + abs(axis.offset)


def _values(axis: Resampling) -> dict[str, Any]:
    """The struct Resampling of resampling.cuh."""
    divisors = {"unit": axis.unit, "extent": axis.extent, "size": axis.size, "of_step": max(1, axis.step)}
    return {"step": axis.step, "offset": axis.offset, **{name: fast_div(d) for name, d in divisors.items()}}
