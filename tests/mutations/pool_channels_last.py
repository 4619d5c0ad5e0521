"""Faults planted in the kernels of pooling with channels last."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels
from backstride.kernels.layout import NHWC
from backstride.kernels.pool.geometry import AvgPoolGeometry, PoolGeometry

from .planted import NAN, OUTSIDE, RACE, WRONG, Planted, integers, shown
from .pool import pool_of, shown_of_volumes

POOLING_LAST = {
    "missing bound of the words": ("max_pool_nhwc", "index < params.pixels.number", "true", "out-of-bounds"),
    "words of the first channels": ("max_pool_nhwc", "split_off(index, pixels.words) * VEC", "0", OUTSIDE),
    "words that overlap": (
        "max_pool_nhwc",
        "split_off(index, pixels.words) * VEC",
        "split_off(index, pixels.words)",
        "misaligned",
    ),
    "every word in the first slice": (
        "max_pool_nhwc",
        "split_off(index, pixels.slices)",
        "index % 2",
        f"{OUTSIDE}|{NAN}",
    ),
    "rows in padding read": ("max_pool_nhwc", "(unsigned)h < (unsigned)windows.H && ", "", OUTSIDE),
    "columns in padding read": ("max_pool_nhwc", " && (unsigned)w < (unsigned)windows.W", "", OUTSIDE),
    "padding that wins": ("max_pool_nhwc", "values[i] = outside", "values[i] = 3", WRONG),
    "taps of a row's first column": (
        "max_pool_nhwc",
        "visit(first + r * KERNEL_W + s, values)",
        "visit(first, values)",
        WRONG,
    ),
    "rows without dilation": ("max_pool_nhwc", "top + r * DILATION_H", "top + r", WRONG),
    "slices of other images": ("max_pool_nhwc", "slice_at(y.image, d, windows.D)", "d", WRONG),
    "padding's tap taken for the first": (
        "max_pool_nhwc",
        "? first_slice + r * KERNEL_W + s",
        "? first_slice + 0",
        WRONG,
    ),
    "windows in padding not marked": ("max_pool_nhwc", "+ s : NO_TAP", "+ s : 0", WRONG),
    "half a word stored": ("max_pool_nhwc", "params.taps + index * VEC", "params.taps + index", f"misaligned|{WRONG}"),
    "a window's last column forgotten": ("avg_pool_nhwc", "s < KERNEL_W; s++", "s < KERNEL_W - 1; s++", WRONG),
    "a window's last row forgotten": ("avg_pool_nhwc", "r < KERNEL_H; r++", "r < KERNEL_H - 1; r++", WRONG),
    "the divisor of another window": ("avg_pool_nhwc", "word.d, word.h, word.w)", "word.d, word.w, word.h)", WRONG),
    "dy's last row forgotten": ("avg_pool_grad_nhwc", "p <= rows.last", "p < rows.last", WRONG),
    "dy's last column forgotten": ("avg_pool_grad_nhwc", "q <= columns.last", "q < columns.last", WRONG),
    "columns without padding": ("avg_pool_grad_nhwc", "w = x.w + PAD_LEFT", "w = x.w", WRONG),
    "dy of the first channels": ("avg_pool_grad_nhwc", "* channels + x.channel", "* channels", WRONG),
    "rows between windows": ("max_pool_grad_nhwc", "if (r % DILATION_H != 0) continue;", "", WRONG),
    "every tap taken": ("max_pool_grad_nhwc", "tap[i] == here ? dy[i]", "true ? dy[i]", WRONG),
    "dy's rows of the first slice": ("max_pool_grad_nhwc", "slice_at(x.image, z, windows.Z)", "x.image", WRONG),
    "positions of a plane": ("max_pool_indices", "quotient(i, params.C)", "i", WRONG),
    "adaptive rows of the first image": ("adaptive_avg_pool_nhwc", "word.image * volume", "0 * volume", WRONG),
    "adaptive windows of one row": ("adaptive_avg_pool_nhwc", "h < rows.last", "h < rows.first + 1", WRONG),
    "adaptive windows divided by rows": (
        "adaptive_avg_pool_nhwc",
        "(Acc)slices.length() * (Acc)rows",
        "(Acc)rows",
        WRONG,
    ),
    "adaptive windows over a row forgotten": (
        "adaptive_avg_pool_grad_nhwc",
        "p < rows.last",
        "p < rows.first + 1",
        WRONG,
    ),
    "adaptive dy of the first channels": (
        "adaptive_avg_pool_grad_nhwc",
        "* channels + word.channel",
        "* channels",
        WRONG,
    ),
}


def evidence_of_pooling_last(cupy: ModuleType) -> str:
    """The same with channels last, in two words of four, and of dilated windows, of which some lie in padding."""
    x = integers(2, 7, 5, 6, 8)
    x[:, :3, ..., 1::2] = -np.inf
    return shown_of_volumes(cupy, x, NHWC) or shown_of_dilated(cupy, 1, 1) or shown_of_dilated(cupy, 5, 4)


def shown_of_dilated(cupy: ModuleType, *extents: int) -> str:
    x, options = integers(1, *extents, 8), {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2, "layout": NHWC}
    taps = kernels.max_pool2d(x, **options)[1]
    forward = shown(cupy, lambda x: kernels.max_pool2d(x, **options)[1], x)
    dy = integers(*taps.shape) + 9
    return forward or shown(cupy, lambda dy, taps: kernels.max_pool2d_grad(dy, taps, x.shape, **options), dy, taps)


SHARED_WINDOWS = {
    "lanes that take one tap": ("avg_pool_nhwc", "int tap = lane_of_window();", "int tap = 0;", WRONG),
    "a tap past the last": ("avg_pool_nhwc", "tap < taps;", "tap < taps + 1;", WRONG),
    "a row's columns taken for rows": ("avg_pool_nhwc", "split_off(t, windows.kernel_w)", "0", f"{WRONG}|{OUTSIDE}"),
    "slices in padding read": ("avg_pool_nhwc", "if ((unsigned)d >= (unsigned)windows.D) h = -1;", "", OUTSIDE),
    "a lane never heard": ("avg_pool_nhwc", "sharer + half < sharers", "sharer + half < sharers - 1", WRONG),
    "the word beside": ("avg_pool_nhwc", "threadIdx.x + half * apart", "threadIdx.x + half", f"{WRONG}|{RACE}"),
    "sums read before all are there": (
        "avg_pool_nhwc",
        "__syncthreads();\n        if (sharer + half",
        "if (sharer + half",
        RACE,
    ),
    "every lane's sums stored": ("avg_pool_nhwc", " || lane_of_window() > 0", "", f"{WRONG}|{RACE}"),
    "of equal elements any": ("max_pool_nhwc", "!greater(best, other) && other_tap < tap", "false", WRONG),
    "of two NaN the first": ("max_pool_nhwc", "other_nan && other_tap > tap", "false", WRONG),
    "words past the last stored": ("max_pool_nhwc", "if (!inside || ", "if (", "out-of-bounds"),
}


def evidence_of_shared_windows(cupy: ModuleType) -> str:
    """What windows of whole images and volumes show, with ties and NaN in them."""
    for extents, rank, padding in (((9, 8), 2, 0), ((3, 6, 5), 3, (1, 0, 2))):
        x = integers(1, *extents, 72 if rank == 2 else 12)
        x[:, 1::2, ::3, ..., ::2] = np.nan
        options = {"stride": 1, "padding": padding, "rank": rank, "layout": NHWC}
        g = PoolGeometry.of("max_pool", x.shape, extents, dilation=1, **options)
        average = AvgPoolGeometry.of_average("avg_pool", x.shape, extents, **options)
        numbers = 720 * np.nan_to_num(x)  # whose means are whole numbers
        found = shown(cupy, lambda x, g=g: pool_of(x).max_pool(x, g)[1], x)
        found = found or shown(cupy, lambda x, g=average: pool_of(x).avg_pool(x, g), numbers)
        if found:
            return found
    return ""


PLANTED = {
    "pooling, channels last": Planted(POOLING_LAST, evidence_of_pooling_last),
    "windows that threads share": Planted(SHARED_WINDOWS, evidence_of_shared_windows),
}
