"""What the pooling kernels of both layouts are told of a geometry: #defines, and values of their structs."""

from __future__ import annotations

from typing import Any

from ..cuda.runtime.launch import check_index
from ..cuda.runtime.loader import fast_div
from ..cuda.windows import volume_axes
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

_TAP_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short", "int32": "int"}


def tap_defines(g: PoolGeometry) -> dict[str, object]:
    return {"TAP": _TAP_TYPES[g.tap_dtype.name], "NO_TAP": g.no_tap}


def average_values(g: AvgPoolGeometry) -> dict[str, Any]:
    """The struct Average of average.cuh. Overhang past the padding never counts."""
    values: dict[str, Any] = {"divisor": float(g.divisor_override or 0)}
    for name, axis in zip("dhw", volume_axes(g.axes), strict=True):
        before, after = (axis.before, axis.after) if g.count_include_pad else (0, 0)
        values |= {f"begin_{name}": -before, f"end_{name}": axis.extent + after}
    return values


def adaptive_values(name: str, g: AdaptivePoolGeometry) -> dict[str, Any]:
    """The struct Adaptive of adaptive.cuh; ValueError where the kernel cannot multiply a position by its count."""
    products = {f"products_of_axis_{i}": h * p for i, (h, p) in enumerate(zip(g.extents, g.windows, strict=True))}
    check_index(name, **products)
    missing = (1,) * (3 - g.rank)
    return dict(zip("DHWZPQ", map(fast_div, (*missing, *g.extents, *missing, *g.windows)), strict=True))
