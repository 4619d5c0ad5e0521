"""Convolutions that are no matrix product worth the name, each with a kernel of its own, and the bias gradient.

Arguments are contiguous and aligned (arrays.contiguous) and on the current device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..cuda.runtime.arrays import address, chunks
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import Split, sum_partials
from ..cuda.windows import (
    THREADS,
    Tiling,
    inputs_tiling,
    outputs_tiling,
    window_values,
)
from ..dtypes import accumulation_dtype
from .few_channels import FewChannels
from .few_channels_input_grad import FewChannelsInputGrad
from .geometry import ConvGeometry


def applies_depthwise(g: ConvGeometry) -> bool:
    """Every group has one input channel; one group alone is a plain convolution unless it has one filter too."""
    return g.groups == g.C and (g.C > 1 or g.K == 1)


def depthwise_forward(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    y = empty(g.y_shape, x.dtype)
    tiling, multiplier = outputs_tiling(g, x.itemsize, 16), g.K // g.C
    for first, planes, arrays in _plane_chunks(g, {"x": x}, {"y": y}):
        tiles = tiling.values(planes * multiplier, g.windows)
        _launch(
            "depthwise_forward",
            tiling,
            tiling.blocks(tiles["number"]),
            g,
            x.dtype,
            w=w,
            b=b,
            first_filter=first % g.C * multiplier,
            filters=fast_div(g.K),
            tiles=tiles,
            **arrays,
        )
    return y


def depthwise_input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """b: the bias of a transposed convolution, one per channel of dx, or None."""
    dx = empty(g.x_shape, dy.dtype)
    tiling = inputs_tiling(g, dy.itemsize, 8)
    for first, planes, arrays in _plane_chunks(g, {"dx": dx}, {"dy": dy}):
        tiles = tiling.values(planes, g.extents)
        _launch(
            "depthwise_input_grad",
            tiling,
            tiling.blocks(tiles["number"]),
            g,
            dy.dtype,
            w=w,
            b=b,
            first_channel=first % g.C,
            channels=fast_div(g.C),
            tiles=tiles,
            **arrays,
        )
    return dx


def depthwise_weight_grad(dy: Any, x: Any, g: ConvGeometry) -> Any:
    dw = empty(g.w_shape, dy.dtype)
    tiling = outputs_tiling(g, dy.itemsize, 8, share=False)
    tiles = tiling.values(g.N, g.windows)
    plane_x, plane_y = math.prod(g.extents), math.prod(g.windows)
    check_index(f"conv{g.rank}d_weight_grad", pixels=g.N * plane_y, weights=dw.size)
    split = Split.of(tiles["number"], THREADS, g.K, dw.size)
    partial = empty((split.parts, *g.w_shape), accumulation_dtype(dy.dtype))
    _launch(
        "depthwise_weight_grad",
        tiling,
        g.K * split.parts,
        g,
        dy.dtype,
        dy=dy,
        x=x,
        partial=partial,
        filters=g.K,
        parts=fast_div(split.parts),
        part_tiles=split.size,
        image_x=g.C * plane_x,
        image_y=g.K * plane_y,
        tiles=tiles,
    )
    sum_partials(partial, dw, None, split.parts, (1, 1))
    return dw


def few_channels_forward(x: Any, w: Any, b: Any, g: ConvGeometry, c: FewChannels) -> Any:
    y = empty(g.y_shape, x.dtype)
    check_index("conv2d", blocks=c.blocks(g), weights=w.size)
    if y.size == 0:
        return y
    _few_channels(c, g, filter_blocks=fast_div(c.filter_blocks), x=x, w=w, b=b, y=y)
    return y


def few_channels_input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry, c: FewChannelsInputGrad) -> Any:
    """b: the bias of a transposed convolution, one per channel of dx, or None."""
    dx = empty(g.x_shape, dy.dtype)
    check_index("conv2d_input_grad", blocks=c.blocks(g), weights=w.size)
    if dx.size == 0:
        return dx
    classes = fast_div(g.axes[0].class_count)
    _few_channels(c, g, classes=classes, dy=dy, w=w, b=b, dx=dx)
    return dx


def _few_channels(c: FewChannels | FewChannelsInputGrad, g: ConvGeometry, **values: Any) -> None:
    """Launch a kernel of few channels; its result is in tiles of rows by columns."""
    launch(
        f"{c.kernel}.cu",
        c.kernel,
        c.defines(g, values["w"].dtype),
        c.blocks(g),
        c.threads,
        0,
        H=g.H,
        W=g.W,
        P=g.P,
        Q=g.Q,
        groups=fast_div(g.groups),
        group_filters=g.K // g.groups,
        tile_rows=fast_div(c.tile_rows),
        tile_columns=fast_div(c.tile_columns),
        **values,
    )


def _plane_chunks(g: ConvGeometry, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """Runs of x's channels, each with those of y: (first one, how many, addresses of the arrays there)."""
    multiplier = g.K // g.C
    plane_x, plane_y = math.prod(g.extents), multiplier * math.prod(g.windows)
    for first, planes in chunks(g.N * g.C, max(plane_x, plane_y) + multiplier):  # room to add a filter's number
        arrays = {key: address(array, first, plane_x) for key, array in inputs.items()}
        arrays |= {key: address(array, first, plane_y) for key, array in outputs.items()}
        yield first, planes, arrays


def _launch(name: str, tiling: Tiling, blocks: int, g: ConvGeometry, dtype: np.dtype, **values: Any) -> None:
    launch(
        f"{name}.cu",
        name,
        tiling.defines(g, dtype),
        blocks,
        THREADS,
        0,
        multiplier=fast_div(g.K // g.C),
        windows=window_values(g),
        **values,
    )
