"""Depthwise convolution on CUDA, channels last: a thread computes a word of neighbouring channels at a few pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..cuda import windows
from ..cuda.runtime.arrays import ALIGNMENT, address, chunks
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import inputs, launch
from ..cuda.runtime.loader import fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import Split, sum_partials
from ..cuda.windows import MAX_STRIDE, THREADS, WARP, Tiling, is_small, largest_power_of_two, window_values
from ..dtypes import accumulation_dtype
from .geometry import ConvGeometry
from .packing import pack_weights
from .window import check

_WORDS = 15
"""That a thread loads at once, at most: of more the compiler spills some."""

_ROWS = 4, 2, 1
"""Of a thread's pixels: windows of neighbouring rows share most of theirs."""

_MOST_ROWS = 16
"""Of windows, whose weight gradients a block has at once."""


@launcher
def forward(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    check(f"conv{g.rank}d", g)
    y = empty(g.y_shape, x.dtype)
    if y.size == 0:
        return y
    vec = _word(g, x.itemsize)
    tiling = _tiling(g, x.itemsize, g.windows, g.stride[-1], 1, g.K // vec)
    _launch_tiles("depthwise_forward_nhwc", tiling, vec, g, {"x": x, "y": y}, y, w, b, fast_div(g.K // g.C))
    return y


@launcher
def input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """b: the bias of a transposed convolution, one per channel of dx, or None."""
    dy, w, b = inputs(dy, w, b)
    check(f"conv{g.rank}d_input_grad", g)
    dx = empty(g.x_shape, dy.dtype)
    if dx.size == 0:
        return dx
    vec = _word(g, dy.itemsize)
    tiling = _tiling(g, dy.itemsize, g.extents, 1, g.stride[-1], g.C // vec)
    _launch_tiles("depthwise_input_grad_nhwc", tiling, vec, g, {"dy": dy, "dx": dx}, dx, w, b, g.K // g.C)
    return dx


@launcher
def weight_grad(dy: Any, x: Any, g: ConvGeometry) -> Any:
    dy, x = inputs(dy, x)
    check(f"conv{g.rank}d_weight_grad", g)
    dw = empty(g.w_shape, dy.dtype)
    vec, unrolled = _word(g, dy.itemsize), is_small(g, dy.itemsize)
    tiling = Tiling(unrolled, 1, _columns(g, g.windows[-1], g.stride[-1]) if unrolled else 1)
    tiles = tiling.values(g.N, g.windows)
    rows = min(_MOST_ROWS, math.prod(g.kernel_size[:-1] if unrolled else g.kernel_size))
    word_blocks = -(-g.K // (vec * min(WARP, THREADS // rows)))
    words = -(-g.K // (vec * word_blocks))
    sharers = THREADS // (words * rows)
    threads = -(-words * rows * sharers // WARP) * WARP
    split = Split.of(tiles["number"], sharers, word_blocks, dw.size)
    partial = empty((split.parts, *g.w_shape), accumulation_dtype(dy.dtype))
    launch(
        "depthwise_weight_grad_nhwc.cu",
        "depthwise_weight_grad_nhwc",
        {**_defines(tiling, g, dy.dtype, vec), "THREADS": threads, "WORDS": words, "WINDOW_ROWS": rows},
        word_blocks * split.parts,
        threads,
        0,
        dy=dy,
        x=x,
        partial=partial,
        channels=g.C,
        filters=g.K,
        word_blocks=fast_div(word_blocks),
        part_tiles=split.size,
        image_x=g.C * math.prod(g.extents),
        image_y=g.K * math.prod(g.windows),
        windows=window_values(g),
        tiles=tiles,
        multiplier=fast_div(g.K // g.C),
    )
    sum_partials(partial, dw, None, split.parts, (1, 1))
    return dw


def _word(g: ConvGeometry, itemsize: int) -> int:
    """Elements of a word; where a channel has several filters, one."""
    return largest_power_of_two(g.C, ALIGNMENT // itemsize) if g.K == g.C else 1


def _tiling(g: ConvGeometry, itemsize: int, extents: tuple[int, ...], stride: int, multiple: int, words: int) -> Tiling:
    """Tiles of pixels, a multiple of columns; of several rows where that leaves enough threads."""
    *slices, height, width = (1, *extents)
    unrolled = is_small(g, itemsize) and multiple <= MAX_STRIDE
    tile_w = _columns(g, width, stride, multiple) if unrolled else 1
    tiles = g.N * math.prod(slices) * -(-width // tile_w) * words
    rows = (rows for rows in _ROWS if tiles * -(-height // rows) >= windows.ENOUGH_THREADS)
    return Tiling(unrolled, next(rows, 1), tile_w)


def _columns(g: ConvGeometry, extent: int, stride: int, multiple: int = 1) -> int:
    """Columns of a thread's tiles: a multiple, of about the same number for all tiles of a row of this extent; its rows
    are read `stride` apart, at all taps at once, and so are the weights."""
    taps, reach = g.axes[-1].taps, g.axes[-1].reach
    most = next((n for n in (4, 2) if min((n - 1) * stride + reach + 1, n * taps) + taps <= _WORDS), 1)
    steps = -(-extent // multiple)
    return -(-steps // -(-steps // max(1, most // multiple))) * multiple


def _defines(tiling: Tiling, g: ConvGeometry, dtype: np.dtype, vec: int) -> dict[str, object]:
    row = g.axes[-1]
    few = not tiling.unrolled or (row.reach <= 2 and row.stride == 1)
    return tiling.defines(g, dtype) | {"VEC": vec, "BLOCKS_PER_SM": 4 if few else 3}


def _launch_tiles(
    name: str,
    tiling: Tiling,
    vec: int,
    g: ConvGeometry,
    arrays: dict[str, Any],
    result: Any,
    w: Any,
    b: Any,
    multiplier: Any,
) -> None:
    """Run a kernel whose tiles lie on its result, one of the arrays."""
    *extents, channels = result.shape[1:]
    words = channels // vec
    packed = pack_weights(w, (1, math.prod(g.kernel_size), g.K, 1), 1)
    for first, images in chunks(g.N, max(math.prod(a.shape[1:]) for a in arrays.values())):
        tiles = tiling.values(images, tuple(extents))
        tiles |= {"number": tiles["number"] * words, "words": fast_div(words)}
        launch(
            f"{name}.cu",
            name,
            _defines(tiling, g, result.dtype, vec),
            tiling.blocks(tiles["number"]),
            THREADS,
            0,
            **{key: address(a, first, math.prod(a.shape[1:])) for key, a in arrays.items()},
            w=packed,
            b=b,
            channels=g.C,
            filters=g.K,
            multiplier=multiplier,
            windows=window_values(g),
            tiles=tiles,
        )
