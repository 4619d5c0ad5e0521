"""What the kernels of matrix products are told of a convolution's window, and what they ask of its extents."""

from __future__ import annotations

import math
from typing import Any

from ..cuda.runtime.launch import check_index
from ..cuda.runtime.loader import fast_div
from ..cuda.windows import volume_axes
from .geometry import ConvGeometry


def window(g: ConvGeometry) -> dict[str, Any]:
    """The structs Window and Images of windowed_image.cuh."""
    values: dict[str, Any] = {}
    names = ("D", "Z", "T", "front"), ("H", "P", "R", "top"), ("W", "Q", "S", "left")
    for (extent, windows, taps, before), axis in zip(names, volume_axes(g.axes), strict=True):
        values |= {extent: axis.extent, windows: fast_div(axis.windows), taps: fast_div(axis.taps), before: axis.before}
        values |= {f"stride_{extent.lower()}": axis.stride, f"dilation_{extent.lower()}": axis.dilation}
    plane_x, plane_y = math.prod(g.extents), math.prod(g.windows)
    images = {
        "plane_x": plane_x,
        "plane_y": fast_div(plane_y),
        "image_x": g.C * plane_x,
        "image_y": g.K * plane_y,
        "group_x": g.C // g.groups * plane_x,
        "group_y": g.K // g.groups * plane_y,
    }
    return {"window": values, "images": images}


def check(operation: str, g: ConvGeometry) -> None:
    """Kernels address images by 64-bit pointers and count pixels and the elements of one image in 32 bits."""
    plane_x, plane_y = math.prod(g.extents), math.prod(g.windows)
    padded = max(axis.padded.extent + axis.stride + axis.dilation * axis.taps for axis in g.axes)
    check_index(
        operation,
        pixels_of_x=g.N * plane_x,
        pixels_of_y=g.N * plane_y,
        elements_of_one_image_of_x=g.C * plane_x,
        elements_of_one_image_of_y=g.K * plane_y,
        elements_of_w=math.prod(g.w_shape),
        twice_the_padded_extent=2 * padded,
    )
