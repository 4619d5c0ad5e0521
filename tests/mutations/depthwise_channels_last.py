"""Faults planted in the kernels of depthwise convolution with channels last."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backstride import kernels
from backstride.kernels.cuda import windows

from .planted import NAN, OUTSIDE, RACE, WRONG, Planted, integers, shown

DEPTHWISE_FORWARD, DEPTHWISE_INPUT_GRAD, DEPTHWISE_WEIGHT_GRAD = (
    f"depthwise_{name}_nhwc" for name in ("forward", "input_grad", "weight_grad")
)

DEPTHWISE_LAST = {
    "missing bound of the tiles": (DEPTHWISE_FORWARD, "if (index >= params.tiles.number) return;", "", "out-of-bounds"),
    "missing bound of a tile's rows": (
        DEPTHWISE_FORWARD,
        "min((word.h + 1) * TILE_H, rows)",
        "(word.h + 1) * TILE_H",
        f"out-of-bounds write|{WRONG}",
    ),
    "missing bound of a tile's columns": (
        DEPTHWISE_FORWARD,
        "if (column < columns) store_word",
        "store_word",
        f"out-of-bounds write|{WRONG}",
    ),
    "rows in padding read": (DEPTHWISE_FORWARD, "if ((unsigned)h >= (unsigned)windows.H) continue;", "", OUTSIDE),
    "columns in padding read": (
        DEPTHWISE_FORWARD,
        "if ((unsigned)column < (unsigned)width) load_word",
        "load_word",
        OUTSIDE,
    ),
    "columns of a window that is not unrolled": (
        DEPTHWISE_FORWARD,
        "if ((unsigned)w >= (unsigned)windows.W) continue;",
        "",
        OUTSIDE,
    ),
    "padding multiplied as zero": (DEPTHWISE_FORWARD, "nan && column < ", "false && column < ", NAN),
    "rows without dilation": (DEPTHWISE_FORWARD, "top + r * DILATION_H", "top + r", WRONG),
    "weights of the first row": (DEPTHWISE_FORWARD, "(tap + r * KERNEL_W)", "(tap)", WRONG),
    "weights of a window's first slice": (DEPTHWISE_FORWARD, "(tap + r * KERNEL_W)", "(r * KERNEL_W)", WRONG),
    "every filter the channel of its number": (
        DEPTHWISE_FORWARD,
        "quotient(word.channel, params.multiplier)",
        "word.channel",
        OUTSIDE,
    ),
    "bias of the first filters": (DEPTHWISE_FORWARD, "(bias, b + word.channel)", "(bias, b)", WRONG),
    "slices of the first image": (DEPTHWISE_FORWARD, "slice_at(word.image, d, windows.D)", "d", WRONG),
    "dy's last row forgotten": (DEPTHWISE_INPUT_GRAD, "p <= rows.last", "p < rows.last", WRONG),
    "rows between windows": (DEPTHWISE_INPUT_GRAD, "if (r % DILATION_H != 0) continue;", "", WRONG),
    "columns between windows": (DEPTHWISE_INPUT_GRAD, "if (s % DILATION_W != 0) continue;", "", WRONG),
    "the first filter of a channel alone": (DEPTHWISE_INPUT_GRAD, "m < params.multiplier", "m < 1", WRONG),
    "windows that do not exist multiplied as zeros": (
        DEPTHWISE_INPUT_GRAD,
        "nan && column < ",
        "false && column < ",
        NAN,
    ),
    "windows of the tile before": (DEPTHWISE_INPUT_GRAD, "/ STRIDE_W + FIRST_Q + k", "/ STRIDE_W + k", WRONG),
    "sums read before all are there": (
        DEPTHWISE_WEIGHT_GRAD,
        "__syncthreads();\n        if (sharer + half",
        "if (sharer + half",
        RACE,
    ),
    "sums replaced while they are read": (
        DEPTHWISE_WEIGHT_GRAD,
        "__syncthreads();\n        sharers = half;",
        "sharers = half;",
        RACE,
    ),
    "a sharer never heard": (DEPTHWISE_WEIGHT_GRAD, "int half = (sharers + 1) / 2;", "int half = sharers / 2;", WRONG),
    "words past the last": (DEPTHWISE_WEIGHT_GRAD, "filter < params.filters && ", "", "out-of-bounds"),
    "the part after": (DEPTHWISE_WEIGHT_GRAD, "min(first + params.part_tiles, ", "max(0, ", WRONG),
    "taps of the first row": (DEPTHWISE_WEIGHT_GRAD, "PAD_TOP + r * DILATION_H, d", "PAD_TOP, d", WRONG),
    "taps past the window's last": (DEPTHWISE_WEIGHT_GRAD, " && tap < taps", "", f"out-of-bounds|{WRONG}"),
    "what lies outside multiplied as zero": (DEPTHWISE_WEIGHT_GRAD, "__syncthreads_or(nan)", "false", NAN),
    "columns outside at one tap": (
        DEPTHWISE_WEIGHT_GRAD,
        "if ((unsigned)w >= (unsigned)windows.W) continue;",
        "",
        OUTSIDE,
    ),
}


def evidence_of_depthwise_last(cupy: ModuleType) -> str:
    """What depthwise convolutions in tall tiles and their gradients show: of words of four, of two filters to a
    channel, of a window that is not unrolled and of volumes, with a bias; then of an infinity in every operand."""
    given = {"stride": (2, 1), "padding": ((1, 2), (2, 1)), "dilation": (2, 1)}
    cases = (
        ((3, 13, 11, 24), (24, 3, 2, 1), given),
        ((2, 9, 8, 3), (6, 3, 3, 1), {"padding": 2, "dilation": (1, 2)}),
        ((2, 4, 5, 4), (4, 9, 8, 1), {"padding": 4}),
        ((2, 8, 8, 132), (132, 3, 3, 1), {"padding": 1}),
        ((2, 7, 5, 6, 8), (8, 3, 2, 2, 1), {"stride": (2, 1, 2), "padding": ((3, 1), (0, 1), (1, 0))}),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(windows, "ENOUGH_THREADS", 1)
        found = (
            shown_of_depthwise_last(cupy, *case, infinite=infinite) for infinite in (False, True) for case in cases
        )
        return next(filter(None, found), "")


def shown_of_depthwise_last(
    cupy: ModuleType, x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], infinite: bool
) -> str:
    conv, input_grad, weight_grad = (
        getattr(kernels, f"conv{len(x_shape) - 2}d{rest}") for rest in ("", "_input_grad", "_weight_grad")
    )
    options = {**options, "groups": x_shape[-1], "layout": "NHWC"}
    x, w, b = integers(*x_shape) + 9, integers(*w_shape), integers(*w_shape[:1])
    dy = integers(*conv(x, w, b, **options).shape) + 9
    infinite_w, infinite_dy, infinite_x = w + 9, dy.copy(), x.copy()
    if infinite:
        for array in (infinite_w, infinite_dy, infinite_x):
            array.flat[0] = array.flat[-1] = np.inf
    calls = (
        (lambda x, w, b: conv(x, w, b, **options), x, infinite_w, b),
        (lambda dy, w: input_grad(dy, w, x_shape, **options), dy, infinite_w),
        (lambda dy, x: weight_grad(dy, x, w_shape, **options), infinite_dy, x),
        (lambda dy, x: weight_grad(dy, x, w_shape, **options), dy, infinite_x),
    )
    return next(filter(None, (shown(cupy, *each) for each in calls)), "")


PLANTED = {
    "depthwise, channels last": Planted(DEPTHWISE_LAST, evidence_of_depthwise_last),
}
