"""Faults planted in the kernels of pooling: of whole planes, whose windows several threads share, and of volumes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from backstride import kernels
from backstride.kernels.layout import NCHW
from backstride.kernels.pool import cpu, cuda
from backstride.kernels.pool.geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

from .planted import NAN, OUTSIDE, WRONG, Planted, integers, shown

SHARE_LANES = "(0xffffffffu >> (32 - LANES)) << (threadIdx.x % 32 / LANES * LANES)"

POOLING = {
    "half of the lanes never heard": ("max_pool", "LANES / 2; mask > 0", "LANES / 2; mask > 1", WRONG),
    "lanes of ended tiles waited for": ("max_pool", SHARE_LANES, "0xffffffffu", "has ended"),
    "the last tie wins": ("max_pool", "other_tap < tap", "other_tap > tap", WRONG),
    "the first NaN wins": ("max_pool", "other_nan && other_tap > tap", "other_nan && other_tap < tap", WRONG),
    "a lane skips a word": ("max_pool", "s += LANES * VEC_X", "s += 2 * LANES * VEC_X", WRONG),
    "windows behind a tile's first column forgotten": (
        "max_pool_grad",
        "covering(w + TILE_W - 1, ",
        "covering(w, ",
        WRONG,
    ),
    "every column of a tile taken for its first": ("max_pool_grad", "int s = w + j - q", "int s = w - q", WRONG),
}


def evidence_of_pooling(cupy: ModuleType) -> str:
    """What the taps and the gradient of max pooling of whole planes show, with ties and NaN in them."""
    x = integers(2, 35, 7, 7)
    x[:, 1::2, ::3, ::2] = np.nan
    taps, dy = kernels.max_pool2d(x, 7)[1], integers(2, 35, 1, 1) + 9
    forward = shown(cupy, lambda x: kernels.max_pool2d(x, 7)[1], x)
    return forward or shown(cupy, lambda dy, taps: kernels.max_pool2d_grad(dy, taps, x.shape, 7), dy, taps)


VOLUMES = {
    "slices in padding read": ("max_pool", "if ((unsigned)d < (unsigned)windows.D) visit", "visit", OUTSIDE),
    "the first slice of a window alone": ("max_pool", "t < taps; t++", "t < 1; t++", WRONG),
    "slices without dilation": ("max_pool", "d += windows.dilation_d.divisor", "d++", OUTSIDE),
    "taps of a window's first slice": ("max_pool", "visit(d, t * KERNEL_H * KERNEL_W)", "visit(d, 0)", WRONG),
    "slices of other volumes": ("max_pool", "volume * depth + d : volume", "volume + d : volume", WRONG),
    "padding's slice taken for a window's first": ("max_pool", "return t < taps ? t *", "return t < taps ? 0 *", WRONG),
    "every tile in the first slice": ("avg_pool", "split_off(index, tiles.slices)", "index % 4", f"{OUTSIDE}|{NAN}"),
    "a window's slices not counted": ("avg_pool", "(Acc)slices * (Acc)rows", "(Acc)rows", WRONG),
    "dy's last slice forgotten": ("avg_pool_grad", "z <= slices.last", "z < slices.last", WRONG),
    "slices without padding": ("avg_pool_grad", "d += windows.pad_front", "d += 0", OUTSIDE),
    "slices between windows": ("max_pool_grad", "if (between == 0) visit", "visit", WRONG),
    "gradient of taps of the first slice": ("max_pool_grad", "visit(z, t * KERNEL_H * KERNEL_W)", "visit(z, 0)", WRONG),
    "positions in the first slice": ("max_pool_indices", "(d * params.H + h)", "h", WRONG),
    "taps of all slices as rows": ("max_pool_indices", "? split_off(t, params.kernel_h) : t", "? t : t", WRONG),
    "adaptive windows of one slice": ("adaptive_avg_pool", "d < slices.last", "d < slices.first + 1", WRONG),
    "adaptive windows of the first volume": (
        "adaptive_avg_pool",
        "(int)depth.divisor * plane : plane",
        "plane : plane",
        WRONG,
    ),
    "adaptive windows that overlap forgotten": (
        "adaptive_avg_pool_grad",
        "z < slices.last",
        "z < slices.first + 1",
        WRONG,
    ),
}


def evidence_of_volumes(cupy: ModuleType) -> str:
    """What pooling of volumes shows, with infinities where windows begin in padding."""
    x = integers(2, 2, 7, 5, 6)
    x[:, 1, :3] = -np.inf
    return shown_of_volumes(cupy, x, NCHW)


def shown_of_volumes(cupy: ModuleType, x: np.ndarray, layout: str) -> str:
    options = {"stride": (2, 1, 2), "padding": ((3, 1), (0, 1), (1, 0)), "rank": 3, "layout": layout}
    g = PoolGeometry.of("max_pool3d", x.shape, (3, 2, 2), dilation=(2, 1, 1), **options)
    average = AvgPoolGeometry.of_average("avg_pool3d", x.shape, (4, 2, 2), count_include_pad=False, **options)
    adaptive = AdaptivePoolGeometry.of("adaptive_avg_pool3d", x.shape, output_size=(5, 2, 3), rank=3, layout=layout)
    taps, dy = cpu.max_pool(x, g)[1], integers(*g.y_shape) + 9

    calls = (
        (lambda x: pool_of(x).max_pool(x, g)[1], x),
        (lambda x: pool_of(x).max_pool(x, g)[0], x),
        (lambda dy, taps: pool_of(dy).max_pool_grad(dy, taps, g), dy, taps),
        (lambda taps: pool_of(taps).max_pool_indices(taps, g), taps),
        (lambda x: pool_of(x).avg_pool(x, average), integers(*x.shape) * 3),
        (lambda dy: pool_of(dy).avg_pool_grad(dy, average), integers(*average.y_shape) * 48),
        (lambda x: pool_of(x).adaptive_avg_pool(x, adaptive), integers(*x.shape) * 144),
        (lambda dy: pool_of(dy).adaptive_avg_pool_grad(dy, adaptive), integers(*adaptive.y_shape) * 144),
    )
    return next(filter(None, (shown(cupy, *each) for each in calls)), "")


def pool_of(array: Any) -> Any:
    return cpu if isinstance(array, np.ndarray) else cuda


PLANTED = {
    "pooling": Planted(POOLING, evidence_of_pooling),
    "pooling of volumes": Planted(VOLUMES, evidence_of_volumes),
}
