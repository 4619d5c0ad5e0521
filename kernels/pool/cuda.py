"""Pooling on the GPU. Channels are independent, so kernels work on N*C planes or volumes of them; where channels come
last, channels_last.py has kernels for all but the indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..cuda.runtime.arrays import address, chunks, contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.windows import (
    THREADS,
    WARP,
    Tiling,
    axes_macro,
    check_offsets,
    flattened,
    inputs_tiling,
    outputs_tiling,
    volume_axes,
    window_values,
)
from . import channels_last
from .channels_last import either_layout
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry
from .values import adaptive_values, average_values, tap_defines


@launcher
@either_layout(channels_last.max_pool)
def max_pool(x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    x = contiguous(x)
    y = empty(geometry.y_shape, x.dtype)
    taps = empty(geometry.y_shape, geometry.tap_dtype)
    geometry = flattened(geometry)
    tiling = outputs_tiling(geometry, x.itemsize, 8)
    defines = {**tiling.defines(geometry, x.dtype), **tap_defines(geometry)}
    _launch_tiles("max_pool", defines, geometry, tiling, {"x": x}, {"y": y, "taps": taps})
    return y, taps


@launcher
@either_layout(channels_last.max_pool_grad)
def max_pool_grad(dy: Any, taps: Any, geometry: PoolGeometry) -> Any:
    dy, taps = contiguous(dy), contiguous(taps)
    dx = empty(geometry.x_shape, dy.dtype)
    geometry = flattened(geometry)
    # all of a tile's dy and taps may be loaded at once: those of a larger window take too many registers
    tiling = inputs_tiling(geometry, dy.itemsize, 8, most_taps=16)
    defines = {**tiling.defines(geometry, dy.dtype), **tap_defines(geometry)}
    _launch_tiles("max_pool_grad", defines, geometry, tiling, {"dx": dx}, {"dy": dy, "taps": taps})
    return dx


@launcher
def max_pool_indices(taps: Any, geometry: PoolGeometry) -> Any:
    check_offsets(geometry)
    taps = contiguous(taps)
    indices = empty(geometry.y_shape, np.int64)
    defines = {"THREADS": THREADS, "AXES": axes_macro(len(geometry.axes)), **tap_defines(geometry)}
    depth, rows, columns = volume_axes(geometry.axes)
    together = max(1, geometry.C) if geometry.channels_last else 1  # channels whose taps lie side by side
    plane = math.prod(geometry.windows) * together
    check_index("max_pool_indices", image=plane)
    for first, planes in chunks(geometry.N * geometry.C // together, plane):
        launch(
            "max_pool_indices.cu",
            "max_pool_indices",
            defines,
            -(-planes * plane // THREADS),
            THREADS,
            0,
            taps=address(taps, first, plane),
            indices=address(indices, first, plane),
            size=planes * plane,
            C=fast_div(together),
            Z=fast_div(depth.windows),
            P=fast_div(rows.windows),
            Q=fast_div(columns.windows),
            kernel_h=fast_div(rows.taps),
            kernel_w=fast_div(columns.taps),
            H=rows.extent,
            W=columns.extent,
            stride_d=depth.stride,
            stride_h=rows.stride,
            stride_w=columns.stride,
            pad_front=depth.before,
            pad_top=rows.before,
            pad_left=columns.before,
            dilation_d=depth.dilation,
            dilation_h=rows.dilation,
            dilation_w=columns.dilation,
        )
    return indices


@launcher
@either_layout(channels_last.avg_pool)
def avg_pool(x: Any, geometry: AvgPoolGeometry) -> Any:
    x = contiguous(x)
    y = empty(geometry.y_shape, x.dtype)
    geometry = flattened(geometry)
    tiling = outputs_tiling(geometry, x.itemsize, 8)
    defines, values = tiling.defines(geometry, x.dtype), {"average": average_values(geometry)}
    _launch_tiles("avg_pool", defines, geometry, tiling, {"x": x}, {"y": y}, values)
    return y


@launcher
@either_layout(channels_last.avg_pool_grad)
def avg_pool_grad(dy: Any, geometry: AvgPoolGeometry) -> Any:
    dy = contiguous(dy)
    dx = empty(geometry.x_shape, dy.dtype)
    geometry = flattened(geometry)
    tiling = inputs_tiling(geometry, dy.itemsize, 8)
    defines, values = tiling.defines(geometry, dy.dtype), {"average": average_values(geometry)}
    _launch_tiles("avg_pool_grad", defines, geometry, tiling, {"dx": dx}, {"dy": dy}, values)
    return dx


@launcher
@either_layout(channels_last.adaptive_avg_pool)
def adaptive_avg_pool(x: Any, geometry: AdaptivePoolGeometry) -> Any:
    x, y = contiguous(x), empty(geometry.y_shape, x.dtype)
    width = -(-geometry.extents[-1] // geometry.windows[-1])
    lanes = min(WARP, 1 << (width.bit_length() - 1))  # to a window, as its rows are wide
    _launch_adaptive("adaptive_avg_pool", {"LANES": lanes}, geometry, {"x": x}, {"y": y}, lanes)
    return y


@launcher
@either_layout(channels_last.adaptive_avg_pool_grad)
def adaptive_avg_pool_grad(dy: Any, geometry: AdaptivePoolGeometry) -> Any:
    dy, dx = contiguous(dy), empty(geometry.x_shape, dy.dtype)
    _launch_adaptive("adaptive_avg_pool_grad", {}, geometry, {"dy": dy}, {"dx": dx})
    return dx


def _launch_adaptive(
    name: str,
    defines: dict[str, object],
    g: AdaptivePoolGeometry,
    given: dict[str, Any],
    result: dict[str, Any],
    lanes: int = 1,
) -> None:
    """Run a kernel that has so many lanes to an element of its result."""
    ((_, array),) = result.items()
    axes = len(g.extents)
    defines = {"TYPE": C_TYPES[array.dtype.name], "AXES": axes_macro(axes), "THREADS": THREADS, **defines}
    of_result = math.prod(array.shape[2:])
    channel = max(math.prod(g.extents), math.prod(g.windows), of_result * lanes)
    pool = adaptive_values(name, g)
    check_index(name, channel=channel)
    for first, channels in chunks(g.N * g.C, channel):
        arrays = {key: address(a, first, math.prod(a.shape[2:])) for key, a in (given | result).items()}
        size = channels * of_result
        launch(f"{name}.cu", name, defines, -(-size * lanes // THREADS), THREADS, 0, size=size, pool=pool, **arrays)


def _launch_tiles(
    name: str,
    defines: dict[str, object],
    g: PoolGeometry,
    tiling: Tiling,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    values: dict[str, Any] | None = None,
) -> None:
    """Run a kernel whose tiles lie on what it writes: a channel's windows, or, for a gradient, its extents."""
    input_channel, output_channel = math.prod(g.extents), math.prod(g.windows)
    tiled = g.extents if "dx" in inputs else g.windows
    for first, channels in chunks(g.N * g.C, max(input_channel, output_channel)):
        arrays = {key: address(array, first, input_channel) for key, array in inputs.items()}
        arrays |= {key: address(array, first, output_channel) for key, array in outputs.items()}
        tiles = tiling.values(channels, tiled)
        launch(
            f"{name}.cu",
            name,
            defines,
            tiling.blocks(tiles["number"]),
            THREADS,
            0,
            windows=window_values(g),
            tiles=tiles,
            **arrays,
            **(values or {}),
        )
