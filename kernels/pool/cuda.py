"""Pooling on the GPU. Planes are independent, so every kernel works on N*C planes of H x W and P x Q."""

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
    check_offsets,
    flattened,
    inputs_tiling,
    outputs_tiling,
    window_values,
)
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

_TAP_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short", "int32": "int"}


@launcher
def max_pool(x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    x = contiguous(x)
    y = empty(geometry.y_shape, x.dtype)
    taps = empty(geometry.y_shape, geometry.tap_dtype)
    geometry = flattened(geometry)
    tiling = outputs_tiling(geometry, x.itemsize, 8)
    defines = {**tiling.defines(geometry, x.dtype), **_tap_defines(geometry)}
    _launch_planes("max_pool2d", defines, geometry, tiling, {"x": x}, {"y": y, "taps": taps})
    return y, taps


@launcher
def max_pool_grad(dy: Any, taps: Any, geometry: PoolGeometry) -> Any:
    dy, taps = contiguous(dy), contiguous(taps)
    dx = empty(geometry.x_shape, dy.dtype)
    geometry = flattened(geometry)
    # all of a tile's dy and taps may be loaded at once: those of a larger window take too many registers
    tiling = inputs_tiling(geometry, dy.itemsize, 8, most_taps=16)
    defines = {**tiling.defines(geometry, dy.dtype), **_tap_defines(geometry)}
    _launch_planes("max_pool2d_grad", defines, geometry, tiling, {"dx": dx}, {"dy": dy, "taps": taps})
    return dx


@launcher
def max_pool_indices(taps: Any, geometry: PoolGeometry) -> Any:
    check_offsets(geometry)
    taps = contiguous(taps)
    indices = empty(geometry.y_shape, np.int64)
    defines = {"THREADS": THREADS, **_tap_defines(geometry)}
    plane = geometry.P * geometry.Q
    for first, planes in chunks(geometry.N * geometry.C, plane):
        launch(
            "max_pool2d_indices.cu",
            "max_pool2d_indices",
            defines,
            -(-planes * plane // THREADS),
            THREADS,
            0,
            taps=address(taps, first, plane),
            indices=address(indices, first, plane),
            size=planes * plane,
            P=fast_div(geometry.P),
            Q=fast_div(geometry.Q),
            kernel_w=fast_div(geometry.S),
            W=geometry.W,
            stride_h=geometry.stride[0],
            stride_w=geometry.stride[1],
            pad_top=geometry.padding[0][0],
            pad_left=geometry.padding[1][0],
            dilation_h=geometry.dilation[0],
            dilation_w=geometry.dilation[1],
        )
    return indices


@launcher
def avg_pool(x: Any, geometry: AvgPoolGeometry) -> Any:
    x = contiguous(x)
    y = empty(geometry.y_shape, x.dtype)
    geometry = flattened(geometry)
    tiling = outputs_tiling(geometry, x.itemsize, 8)
    defines, values = tiling.defines(geometry, x.dtype), {"average": _average(geometry)}
    _launch_planes("avg_pool2d", defines, geometry, tiling, {"x": x}, {"y": y}, values)
    return y


@launcher
def avg_pool_grad(dy: Any, geometry: AvgPoolGeometry) -> Any:
    dy = contiguous(dy)
    dx = empty(geometry.x_shape, dy.dtype)
    geometry = flattened(geometry)
    tiling = inputs_tiling(geometry, dy.itemsize, 8)
    defines, values = tiling.defines(geometry, dy.dtype), {"average": _average(geometry)}
    _launch_planes("avg_pool2d_grad", defines, geometry, tiling, {"dx": dx}, {"dy": dy}, values)
    return dx


@launcher
def adaptive_avg_pool(x: Any, geometry: AdaptivePoolGeometry) -> Any:
    x, y = contiguous(x), empty(geometry.y_shape, x.dtype)
    width = -(-geometry.extents[-1] // geometry.windows[-1])
    lanes = min(WARP, 1 << (width.bit_length() - 1))  # to a window, as its rows are wide
    _launch_adaptive("adaptive_avg_pool2d", {"LANES": lanes}, geometry, {"x": x}, {"y": y}, lanes)
    return y


@launcher
def adaptive_avg_pool_grad(dy: Any, geometry: AdaptivePoolGeometry) -> Any:
    dy, dx = contiguous(dy), empty(geometry.x_shape, dy.dtype)
    _launch_adaptive("adaptive_avg_pool2d_grad", {}, geometry, {"dy": dy}, {"dx": dx})
    return dx


def _tap_defines(g: PoolGeometry) -> dict[str, object]:
    return {"TAP": _TAP_TYPES[g.tap_dtype.name], "NO_TAP": g.no_tap}


def _average(g: AvgPoolGeometry) -> dict[str, Any]:
    """The struct Average of average.cuh. Overhang past the padding never counts."""
    (top, bottom), (left, right) = g.padding if g.count_include_pad else ((0, 0), (0, 0))
    clip = {"begin_h": -top, "end_h": g.H + bottom, "begin_w": -left, "end_w": g.W + right}
    return {**clip, "divisor": float(g.divisor_override or 0)}


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
    defines = {"TYPE": C_TYPES[array.dtype.name], "THREADS": THREADS, **defines}
    products = {f"products_of_axis_{i}": h * p for i, (h, p) in enumerate(zip(g.extents, g.windows, strict=True))}
    check_index(name, **products)
    pool = dict(zip("HWPQ", map(fast_div, (*g.extents, *g.windows)), strict=True))
    of_result = math.prod(array.shape[2:])
    for first, planes in chunks(g.N * g.C, max(math.prod(g.extents), math.prod(g.windows)) * lanes):
        arrays = {key: address(a, first, math.prod(a.shape[2:])) for key, a in (given | result).items()}
        size = planes * of_result
        launch(f"{name}.cu", name, defines, -(-size * lanes // THREADS), THREADS, 0, size=size, pool=pool, **arrays)


def _launch_planes(
    name: str,
    defines: dict[str, object],
    g: PoolGeometry,
    tiling: Tiling,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    values: dict[str, Any] | None = None,
) -> None:
    """Run a kernel whose tiles lie on what it writes: on planes of P x Q, or, for a gradient, of H x W."""
    input_plane, output_plane = g.H * g.W, g.P * g.Q
    tiled = (g.H, g.W) if "dx" in inputs else (g.P, g.Q)
    for first, planes in chunks(g.N * g.C, max(input_plane, output_plane)):
        arrays = {key: address(array, first, input_plane) for key, array in inputs.items()}
        arrays |= {key: address(array, first, output_plane) for key, array in outputs.items()}
        tiles = tiling.values(planes, tiled)
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
