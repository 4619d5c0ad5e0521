"""The residue classes of the stride, by which input gradients run (class_axis.cuh): their weights and numbers."""

from __future__ import annotations

import math
from typing import Any

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.windows import volume_axes
from .geometry import ConvGeometry

_THREADS = 256
NOT_PACKED = dict.fromkeys(("first_taps", "first_taps_h", "first_taps_w", "packed_depth"), 0)


def pack_class_weights(w: Any, g: ConvGeometry) -> tuple[Any, dict[str, int]]:
    """The weights by residue classes, and how they lie there (conv_input_grad.cu, Params)."""
    axes = volume_axes(g.axes)
    first_taps = [min(axis.taps, axis.tap_step) for axis in axes]
    most_taps = math.prod(-(-axis.taps // axis.tap_step) for axis in axes)
    filters, channels = g.K // g.groups, g.C // g.groups
    word = ALIGNMENT // w.itemsize
    depth = -(-filters * most_taps // word) * word
    packed = empty((g.groups, math.prod(first_taps), channels, depth), w.dtype)
    check_index(f"conv{g.rank}d_input_grad", elements_of_packed_weights=packed.size)
    along = {
        f"along_{name}": {"number": fast_div(number), "kernel": axis.taps, "step": axis.tap_step}
        for name, number, axis in zip("dhw", first_taps, axes, strict=True)
    }
    if packed.size:
        launch(
            "pack_class_weights.cu",
            "pack_class_weights",
            {"TYPE": C_TYPES[w.dtype.name], "THREADS": _THREADS, "CHANNELS_LAST": int(g.channels_last)},
            -(-packed.size // _THREADS),
            _THREADS,
            0,
            w=w,
            packed=packed,
            size=packed.size,
            filters=fast_div(max(filters, 1)),
            depth=fast_div(depth),
            channels=fast_div(channels),
            **along,
        )
    packing = dict(zip(NOT_PACKED, (math.prod(first_taps), *first_taps[1:], depth), strict=True))
    return packed, packing


def class_values(g: ConvGeometry) -> dict[str, Any]:
    """The fields of the classes."""
    axis_d, axis_h, axis_w = volume_axes(g.axes)
    return {
        "filters": g.K // g.groups,
        "classes": fast_div(axis_d.class_count * axis_h.class_count * axis_w.class_count),
        "classes_h": fast_div(axis_h.class_count),
        "classes_w": fast_div(axis_w.class_count),
        "class_slices": fast_div(axis_d.class_positions),
        "class_rows": fast_div(axis_h.class_positions),
        "class_columns": fast_div(axis_w.class_positions),
        "gcd_d": axis_d.gcd,
        "gcd_h": axis_h.gcd,
        "gcd_w": axis_w.gcd,
        "inverse_d": axis_d.inverse,
        "inverse_h": axis_h.inverse,
        "inverse_w": axis_w.inverse,
    }
