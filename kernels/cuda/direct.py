"""Convolutions that are no matrix product worth the name, each with a kernel of its own, and the bias gradient.

Arguments are contiguous and aligned (arrays.contiguous) and on the current device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..checks import accumulation_dtype
from ..geometry import Conv2dGeometry
from .arrays import ALIGNMENT, address, chunks
from .few_channels import FewChannels
from .few_channels_input_grad import FewChannelsInputGrad
from .launch import check_index, empty, launch, sum_partials
from .loader import C_TYPES, Params, fast_div
from .residues import ClassAxis
from .tiles import WORKSPACE_LIMIT
from .windows import (
    THREADS,
    TILE_FIELDS,
    WARP,
    WINDOW_FIELDS,
    Tiling,
    inputs_tiling,
    largest_power_of_two,
    outputs_tiling,
    window_values,
)

_X, _DY, _W, _B = ("x", "const Element*"), ("dy", "const Element*"), ("w", "const Element*"), ("b", "const Element*")
_WINDOWS = (*WINDOW_FIELDS, *TILE_FIELDS, ("multiplier", "FastDiv"))
_FORWARD = Params((_X, _W, _B, ("y", "Element*"), ("first_filter", "int"), ("filters", "FastDiv"), *_WINDOWS))
_INPUT_GRAD = Params((_DY, _W, _B, ("dx", "Element*"), ("first_channel", "int"), ("channels", "FastDiv"), *_WINDOWS))
_EXTENTS = (("H", "int"), ("W", "int"), ("P", "int"), ("Q", "int"))
_TILES = (("filter_blocks", "FastDiv"), ("tile_rows", "FastDiv"), ("tile_columns", "FastDiv"))
_GROUPS = (("groups", "FastDiv"), ("group_filters", "int"))
_FEW_CHANNELS = Params((_X, _W, _B, ("y", "Element*"), *_EXTENTS, *_GROUPS, *_TILES))
_FEW_CHANNELS_INPUT_GRAD = Params(
    (
        _DY, _W, _B, ("dx", "Element*"), *_EXTENTS, ("groups", "FastDiv"), ("group_filters", "int"),
        ("classes", "FastDiv"), ("tile_rows", "FastDiv"), ("tile_columns", "FastDiv"),
    )
)  # fmt: skip
_IMAGES = (("image_x", "long long"), ("image_y", "long long"))
_PARTS = (("partial", "Acc*"), ("filters", "int"), ("parts", "FastDiv"), ("part_tiles", "int"))
_WEIGHT_GRAD = Params((_DY, _X, *_PARTS, *_IMAGES, *_WINDOWS))
_VECTORS = (("vectors", "int"), ("part_vectors", "int"), ("plane", "FastDiv"), ("image", "long long"))
_BIAS_GRAD = Params((_DY, ("partial", "Acc*"), ("filters", "int"), ("filter_blocks", "FastDiv"), *_VECTORS))

PARTIAL_SUMS = 2**12
"""Blocks, or for a bias gradient warps, that a sum over the batch is cut into: more than any GPU runs at once."""


def applies_depthwise(g: Conv2dGeometry) -> bool:
    """Every group has one input channel; one group alone is a plain convolution unless it has one filter too."""
    return g.groups == g.C and (g.C > 1 or g.K == 1)


def depthwise_forward(x: Any, w: Any, b: Any, g: Conv2dGeometry) -> Any:
    y = empty(g.y_shape, x.dtype)
    tiling, multiplier = outputs_tiling(g, x.itemsize, 16), g.K // g.C
    for first, planes, arrays in _plane_chunks(g, {"x": x}, {"y": y}):
        tiles = tiling.values(planes * multiplier, (g.P, g.Q))
        _launch(
            "depthwise_forward", _FORWARD, tiling, tiling.blocks(tiles["tiles"]), g, x.dtype,
            w=w, b=b, first_filter=first % g.C * multiplier, filters=fast_div(g.K), **arrays, **tiles,
        )  # fmt: skip
    return y


def depthwise_input_grad(dy: Any, w: Any, b: Any, g: Conv2dGeometry) -> Any:
    """b: the bias of a transposed convolution, one per channel of dx, or None."""
    dx = empty(g.x_shape, dy.dtype)
    tiling = inputs_tiling(g, dy.itemsize, 8)
    for first, planes, arrays in _plane_chunks(g, {"dx": dx}, {"dy": dy}):
        tiles = tiling.values(planes, (g.H, g.W))
        _launch(
            "depthwise_input_grad", _INPUT_GRAD, tiling, tiling.blocks(tiles["tiles"]), g, dy.dtype,
            w=w, b=b, first_channel=first % g.C, channels=fast_div(g.C), **arrays, **tiles,
        )  # fmt: skip
    return dx


def depthwise_weight_grad(dy: Any, x: Any, g: Conv2dGeometry) -> Any:
    dw = empty(g.w_shape, dy.dtype)
    tiling = outputs_tiling(g, dy.itemsize, 8, share=False)
    tiles = tiling.values(g.N, (g.P, g.Q))
    check_index("conv2d_weight_grad", pixels=g.N * g.P * g.Q, weights=dw.size)
    split = Split.of(tiles["tiles"], THREADS, g.K, dw.size)
    partial = empty((split.parts, *g.w_shape), accumulation_dtype(dy.dtype))
    _launch(
        "depthwise_weight_grad", _WEIGHT_GRAD, tiling, g.K * split.parts, g, dy.dtype,
        dy=dy, x=x, partial=partial, filters=g.K, parts=fast_div(split.parts), part_tiles=split.size,
        image_x=g.C * g.H * g.W, image_y=g.K * g.P * g.Q, **tiles,
    )  # fmt: skip
    sum_partials(partial, dw, None, split.parts, (1, 1))
    return dw


def few_channels_forward(x: Any, w: Any, b: Any, g: Conv2dGeometry, c: FewChannels) -> Any:
    y = empty(g.y_shape, x.dtype)
    check_index("conv2d", blocks=c.blocks(g), weights=w.size)
    if y.size == 0:
        return y
    launch(
        "few_channels.cu", "few_channels", c.defines(g, x.dtype), _FEW_CHANNELS, c.blocks(g), c.threads, 0,
        x=x, w=w, b=b, y=y, H=g.H, W=g.W, P=g.P, Q=g.Q, groups=fast_div(g.groups), group_filters=g.K // g.groups,
        filter_blocks=fast_div(c.filter_blocks), tile_rows=fast_div(c.tile_rows), tile_columns=fast_div(c.tile_columns),
    )  # fmt: skip
    return y


def few_channels_input_grad(dy: Any, w: Any, b: Any, g: Conv2dGeometry, c: FewChannelsInputGrad) -> Any:
    """b: the bias of a transposed convolution, one per channel of dx, or None."""
    dx = empty(g.x_shape, dy.dtype)
    check_index("conv2d_input_grad", blocks=c.blocks(g), weights=w.size)
    if dx.size == 0:
        return dx
    launch(
        "few_channels_input_grad.cu", "few_channels_input_grad", c.defines(g, dy.dtype), _FEW_CHANNELS_INPUT_GRAD,
        c.blocks(g), c.threads, 0, dy=dy, w=w, b=b, dx=dx, H=g.H, W=g.W, P=g.P, Q=g.Q, groups=fast_div(g.groups),
        group_filters=g.K // g.groups, classes=fast_div(ClassAxis.of(g, 0).classes),
        tile_rows=fast_div(c.tile_rows), tile_columns=fast_div(c.tile_columns),
    )  # fmt: skip
    return dx


def bias_grad(dy: Any) -> Any:
    n, k, p, q = dy.shape
    db = empty((k, 1, 1), dy.dtype)
    if k == 0:
        return db
    vec = largest_power_of_two(p * q, ALIGNMENT // dy.itemsize)
    plane = p * q // vec
    lanes = min(WARP, 1 << max(plane - 1, 0).bit_length())
    check_index("conv2d_bias_grad", pixels=n * p * q)
    split = Split.of(n * plane, lanes, k, k)
    partial = empty((split.parts, k), accumulation_dtype(dy.dtype))
    filter_blocks = -(-k * lanes // THREADS)
    launch(
        "bias_grad.cu", "bias_grad",
        {"TYPE": C_TYPES[dy.dtype.name], "THREADS": THREADS, "LANES": lanes, "VEC": vec}, _BIAS_GRAD,
        filter_blocks * split.parts, THREADS, 0,
        dy=dy, partial=partial, filters=k, filter_blocks=fast_div(filter_blocks), vectors=n * plane,
        part_vectors=split.size, plane=fast_div(max(plane, 1)), image=k * p * q,
    )  # fmt: skip
    sum_partials(partial, db, None, split.parts, (1, 1))
    return db


@dataclass(frozen=True)
class Split:
    """A sum cut into `parts` of `size` terms each: by the shape alone, so that every GPU gives the same bits."""

    parts: int
    size: int

    @classmethod
    @cache
    def of(cls, terms: int, threads: int, sums: int, results: int) -> Split:
        """Enough parts for `sums` such sums of `results` numbers in all to fill a GPU, at least 8 terms a thread."""
        parts = max(1, min(PARTIAL_SUMS // sums, terms // (8 * threads), WORKSPACE_LIMIT // (8 * results)))
        size = -(-terms // parts)
        return cls(max(1, -(-terms // size)) if size else 1, size)


def _plane_chunks(g: Conv2dGeometry, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """Runs of x's planes, each with its y planes: (first plane, planes, addresses of the arrays there)."""
    multiplier = g.K // g.C
    plane_x, plane_y = g.H * g.W, multiplier * g.P * g.Q
    for first, planes in chunks(g.N * g.C, max(plane_x, plane_y) + multiplier):  # room to add a filter's number
        arrays = {key: address(array, first, plane_x) for key, array in inputs.items()}
        arrays |= {key: address(array, first, plane_y) for key, array in outputs.items()}
        yield first, planes, arrays


def _launch(
    name: str, params: Params, tiling: Tiling, blocks: int, g: Conv2dGeometry, dtype: np.dtype, **values: Any
) -> None:
    launch(
        f"{name}.cu", name, tiling.defines(g, dtype), params, blocks, THREADS, 0,
        multiplier=fast_div(g.K // g.C), **window_values(g), **values,
    )  # fmt: skip
