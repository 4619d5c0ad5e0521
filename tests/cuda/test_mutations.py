"""Faults planted in the project's own kernels and launchers: the emulator must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import emulator
import numpy as np
import pytest

from backstride import kernels, use_float32_precision
from backstride.kernels.cuda import windows
from backstride.kernels.cuda.runtime import loader, replay
from backstride.kernels.layout import NCHW, NHWC
from backstride.kernels.norm import words
from backstride.kernels.pool import cpu, cuda
from backstride.kernels.pool.geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

WRONG = "a wrong result"
NAN = "NaN where nothing was written"
RACE = "race on shared memory"

# What is replaced, by what, and what shows it: a fault's message or what the result is like.
MUTATIONS = {
    "missing barrier in the main loop": ("__syncthreads();  // this tile has arrived", ";//", RACE),
    "missing barrier before the tile is stored": ("cp_async_wait<0>();\n    __syncthreads();", "", RACE),
    "missing __syncwarp": ("__syncwarp();\n        Vec", "Vec", RACE),
    "wait for one group too few": ("cp_async_wait<AHEAD - 1>();", "cp_async_wait<AHEAD>();", RACE),
    "no wait": ("cp_async_wait<AHEAD - 1>();", "", RACE),
    "missing bound of the image's columns": (
        "valid &= (unsigned)(pixel.column + tap.column) < (unsigned)W;",
        "",
        f"out-of-bounds read|{WRONG}",
    ),
    "missing bound of the image's rows": ("(unsigned)(pixel.row + tap.row) < (unsigned)H;", "true;", "out-of-bounds"),
    "missing bound of the output's columns": ("row < 0 || n >= columns", "row < 0", "out-of-bounds write"),
    "missing bound of the output's rows": ("m < rows ? place(m) : -1", "place(m)", "out-of-bounds write"),
    "wrong stride in shared memory": ("row * LD + k : k * LD + row", "row * 8 + k : k * 8 + row", RACE),
    "tiles that overlap in shared memory": ("stage(tile) + SIZE_A)", "stage(tile) + SIZE_A / 2)", RACE),
    "stage past the end of shared memory": ("shared + tile % STAGES", "shared + tile", "not all in shared memory"),
    "addresses outside the image": ("base + only_if(valid, offset)", "base + offset", "out-of-bounds"),
    "one tile of the output is never written": (
        "    cp_async_wait<0>();\n    __syncthreads();",
        "    if (blockIdx.x == 1) return false;\n    cp_async_wait<0>();\n    __syncthreads();",
        NAN,
    ),
}


# The same for three TF32 products and for C by words, as a linear layer shows them.
PRODUCTS = {
    "subnormal numbers not scaled": ("mul_rn(__uint_as_float(x[i]), 0x1p24f)", "__uint_as_float(x[i])", WRONG),
    "sums not scaled back": ("mul_rn(sum, 0x1p-48f)", "sum", WRONG),
    "small parts dropped": ("__float_as_uint(add_rn(scaled, -__uint_as_float(big[i])))", "0", WRONG),
    "sums that overflow left": ("OVERFLOWS = true", "OVERFLOWS = false", NAN),
    "infinities left": ("(__float_as_uint(value) & INFINITY_BITS) == INFINITY_BITS", "value != value", NAN),
    "A added again by the other axis": ("at<A_K_MAJOR>(m, k, params.stride_a)", "at<!A_K_MAJOR>(m, k, 1)", WRONG),
    "words of C by other columns": (
        "(pass * COLUMNS + lane_id() / LANES) * SLAB_LD",
        "pass * COLUMNS * SLAB_LD",
        WRONG,
    ),
    "the bias of the next column": ("out.bias_of(n + column)", "out.bias_of(n + column + 1)", f"out-of-bounds|{WRONG}"),
    "the bias of the next row": ("out.bias_of(m + mma.row(i))", "out.bias_of(m + mma.row(i) + 1)", WRONG),
    "a bias past the last column": ("bias && i < (BIAS_ALONG_M ? rows : columns)", "bias", "out-of-bounds read"),
}


# The same for the kernels of few channels.
INPUT_GRAD = {
    "piece read before it is whole": ("__syncthreads();\n        add_filter", "add_filter", RACE),
    "piece filled while it is read": ("rows.taps);\n        __syncthreads();", "rows.taps);", RACE),
    "taps of another residue class": ("residue = (first + padding) % stride", "residue = first % stride", WRONG),
    "missing bound of dy's columns": ("if (inside && ", "if (", f"out-of-bounds read|{WRONG}"),
    "missing bound of dy's rows": (" && (unsigned)(h + row) < (unsigned)height", "", "out-of-bounds read"),
    "missing bound of dx's columns": ("h < height && w + i < width", "h < height", f"out-of-bounds write|{WRONG}"),
}
FORWARD = {
    "image read before it is whole": ("__syncthreads();\n#pragma unroll 1", "\n#pragma unroll 1", RACE),
    "image that begins elsewhere": ("modulo(-PAD_LEFT, VEC_X)", "0", f"misaligned|{WRONG}"),
}
FEW_CHANNELS = {
    name: (kernel, *mutation)
    for kernel, mutations in (("few_channels", FORWARD), ("few_channels_input_grad", INPUT_GRAD))
    for name, mutation in mutations.items()
}


# The same for pooling of whole planes, whose windows several threads share.
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


# The same for the slices of volumes.
OUTSIDE = f"out-of-bounds read|SEGV|{WRONG}"
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


# The same for pooling with channels last.
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


# The same where threads share a window.
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


# The same for convolution of volumes.
CONV_VOLUMES = {
    "missing bound of the image's slices": (
        "conv_forward",
        "valid &= (unsigned)(pixel.slice + tap.slice) < (unsigned)D;",
        "",
        OUTSIDE,
    ),
    "slices without stride": (
        "conv_forward",
        "split_off(i, window.Z) * window.stride_d",
        "split_off(i, window.Z)",
        WRONG,
    ),
    "taps' slices without dilation": ("conv_forward", "* window.dilation_d;", ";", WRONG),
    "channels of one slice": ("conv_forward", "(i * window.D + slice)", "(i + slice)", WRONG),
    "pixels' slices not in dw": ("conv_weight_grad", "(slice * window.H + row)", "row", OUTSIDE),
    "taps of the first slice in dw": ("conv_weight_grad", "split_off(i, window.T) * window.dilation_d", "0", OUTSIDE),
    "slices of another class": (
        "conv_input_grad",
        "first_d + split_off(i, slices) * stride_d",
        "split_off(i, slices)",
        NAN,
    ),
    "slices past the last": ("conv_input_grad", "inside = inside && slice < D;", "", f"out-of-bounds write|{WRONG}"),
    "weights of the first slice": (
        "conv_input_grad",
        "residue.taps += d.first_tap * params.first_taps_h * params.first_taps_w;",
        "",
        WRONG,
    ),
    "weights of another class": ("conv_input_grad", " + w.first_tap,", ",", WRONG),
    "every tap packed": ("pack_class_weights", "first + i * axis.step", "first + i", WRONG),
    "packed weights past the last": (
        "pack_class_weights",
        "!CHANNELS_LAST && k < filters",
        "!CHANNELS_LAST",
        "out-of-bounds read",
    ),
    "packed taps counted together": (
        "pack_class_weights",
        "(axis.kernel - first + axis.step - 1)",
        "axis.kernel",
        WRONG,
    ),
    "taps of every slice": ("conv_input_grad", "residue.image.depth *= d.taps;", "", WRONG),
    "depthwise: slices of the first channel": ("depthwise_forward", "slice_at(channel, d, windows.D)", "d", WRONG),
    "depthwise: weights of the first slice": ("depthwise_forward", "w[tap + r", "w[r", WRONG),
    "depthwise: dy's first slice": ("depthwise_input_grad", "slice_at(plane, z, windows.Z)", "plane", WRONG),
    "depthwise: weights of dy's first slice": (
        "depthwise_input_grad",
        "KERNEL_H * KERNEL_W + tap",
        "KERNEL_H * KERNEL_W",
        WRONG,
    ),
    "depthwise: slices in padding": (
        "depthwise_weight_grad",
        "if ((unsigned)d >= (unsigned)windows.D) continue;",
        "",
        OUTSIDE,
    ),
    "depthwise: sums of the first slice": (
        "depthwise_weight_grad",
        "int t = AXES == 3 ? pass / (KERNEL_H * KERNEL_W) : 0",
        "int t = 0",
        f"{OUTSIDE}|{NAN}",
    ),
}


# The same for convolution with channels last.
FORWARD_LAST, INPUT_GRAD_LAST, WEIGHT_GRAD_LAST = (
    f"conv_{name}_nhwc" for name in ("forward", "input_grad", "weight_grad")
)
CHANNELS_LAST = {
    "missing bound of the image's columns": (
        FORWARD_LAST,
        "valid &= (unsigned)(at.column + tap.column) < (unsigned)window.W;",
        "",
        OUTSIDE,
    ),
    "missing bound of the image's rows": (
        FORWARD_LAST,
        "(unsigned)(at.row + tap.row) < (unsigned)window.H;",
        "true;",
        OUTSIDE,
    ),
    "missing bound of the pixels": (FORWARD_LAST, "if (i >= pixels) return {0, 0, OUTSIDE, OUTSIDE};", "", OUTSIDE),
    "taps by columns": (FORWARD_LAST, "s = split_off(i, window.S);", "s = split_off(i, window.R);", WRONG),
    "rows without dilation": (FORWARD_LAST, "row = r * window.dilation_h", "row = r", WRONG),
    "columns without stride": (FORWARD_LAST, "q * window.stride_w - window.left", "q - window.left", WRONG),
    "channels of the first": (FORWARD_LAST, "* channels + channel, row, column};", "* channels, row, column};", WRONG),
    "pixels of the first image": (FORWARD_LAST, "x + at.image * image", "x", WRONG),
    "image of the first group": (FORWARD_LAST, "x + group * (int)each.divisor", "x", WRONG),
    "weights of the first group": (
        FORWARD_LAST,
        "params.w + (long long)block.group * product.rows * product.depth",
        "params.w",
        WRONG,
    ),
    "bias of the first group": (FORWARD_LAST, "product.bias + filter", "product.bias", WRONG),
    "the thread's first pixel alone": (FORWARD_LAST, "tables.corners[row(i)]", "tables.corners[row(0)]", WRONG),
    "pixels read before they are there": (
        FORWARD_LAST,
        "b.prepare(tile);\n    __syncthreads();",
        "b.prepare(tile);",
        f"{RACE}|{OUTSIDE}",
    ),
    "weights of the first class": (INPUT_GRAD_LAST, "(depth > 0 ? residue.taps : 0)", "0", WRONG),
    "pixels without their channels": (INPUT_GRAD_LAST, "pixels(n) * channels", "pixels(n)", "misaligned"),
    "gaps of a class are stored": (INPUT_GRAD_LAST, "GAPS = true", "GAPS = false", "out-of-bounds write"),
    "class read before it is there": (
        INPUT_GRAD_LAST,
        "params.dy);\n    __syncthreads();",
        "params.dy);",
        f"{RACE}|shift",
    ),
    "weights packed by filters": ("pack_class_weights", "CHANNELS_LAST ? split_off(k, params.filters) : 0", "0", WRONG),
    "gradient of the first group": (WEIGHT_GRAD_LAST, "params.dy + filter", "params.dy", WRONG),
    "the thread's first pixel of the gradient": (WEIGHT_GRAD_LAST, "corners[k(i)]", "corners[k(0)]", WRONG),
    "taps of the first row": (WEIGHT_GRAD_LAST, "row0 + threadIdx.x % WORDS * VECTOR", "row0", WRONG),
    "filters of the first group in db": (WEIGHT_GRAD_LAST, "to.db + filter", "to.db", f"{WRONG}|{NAN}|{RACE}"),
}


# The same for depthwise convolution with channels last.
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


# The same for the kernel of tiny layers.
TINY = {
    "lanes added before all are there": ("__syncthreads();\n        sum = of_warps[0]", "sum = of_warps[0]", RACE),
    "half of the lanes never heard": ("/ 2; mask > 0", "/ 2; mask > 1", WRONG),
    "the first window forgotten": ("int i = lane;", "int i = lane + 1;", WRONG),
    "padding read by dw": ("(unsigned)h >= (unsigned)H || ", "", f"SEGV|out-of-bounds read|{WRONG}"),
    "windows that start elsewhere": ("r * params.dilation_h - params.pad_top", "r * params.dilation_h", WRONG),
    "windows past the last row": (" || p >= P", "", f"out-of-bounds read|{WRONG}"),
    "columns between windows": ("split_off(q, params.stride_w) != 0 || ", "", f"out-of-bounds read|{WRONG}"),
    "filters of the first group": ("n * params.K + group * filters", "n * params.K", WRONG),
    "missing bound of dx": ("if (index < params.dx_size) params.dx", "params.dx", "out-of-bounds"),
}


# The same for the kernels of activations.
ACTIVATIONS = {
    "vectors that reach past the end": ("activation", "if (first + V <= size) return", "return", "out-of-bounds read"),
    "a tail that is not read": ("activation", "if (first + j < size) v.at[j] =", "if (false) v.at[j] =", WRONG),
    "a tail that is not written": ("activation", "if (first + j < size) p[", "if (false) p[", NAN),
    "a gradient stored past the end": ("activation_grad", "if (first + j < size) p[", "p[", "out-of-bounds write"),
    "vectors that overlap": ("activation_grad", "threadIdx.x) * VEC", "threadIdx.x) * (VEC - 1)", f"misaligned|{NAN}"),
    "NaN taken for a number": ("activation_grad", "greater(y, Acc(0)) || is_nan(y)", "greater(y, Acc(0))", WRONG),
    "the gradient of what was stopped": ("activation_grad", "greater(y, Acc(0))", "!greater(Acc(0), y)", WRONG),
}


# The same for the kernels of softmax.
SOFTMAX = {
    "half of the lanes never heard": ("softmax", "/ 2; mask > 0", "/ 2; mask > 1", WRONG),
    "warps read before all are there": ("softmax", "= mine;\n        __syncthreads();", "= mine;", RACE),
    "the last elements of a row forgotten": ("softmax", "row.count; i++", "row.count - 1; i++", f"{WRONG}|{NAN}"),
    "rows past the last": ("softmax", "inside = index < rows.number", "inside = true", "out-of-bounds"),
    "another row's elements": ("softmax", "* rows.length * pitch + inner", "* rows.length * pitch", f"{NAN}|{WRONG}"),
    "the largest not taken off": ("softmax", "load(params.x[at]), -largest)", "load(params.x[at]), Acc(0))", WRONG),
}


# The same for normalisation: of whole groups and of parts of them, with gamma of a channel, a vector and an element.
FIRST_OF_IMAGE = "split_off(image, affine.groups) * (int)affine.channels.divisor + "
NORM = {
    "half of the lanes never heard": ("normalise", "mask > 0; mask /= 2)", "mask > 1; mask /= 2)", WRONG),
    "a warp never heard": ("normalise", "int warp = 1;", "int warp = 2;", WRONG),
    "warps merged before all are there": ("normalise", "__syncthreads();\n        mine", "mine", RACE),
    "means of parts that differ": ("normalise", "b.squares), of_means)", "b.squares), 0)", WRONG),
    "a part never heard": ("normalise", "part < params.parts", "part < params.parts - 1", WRONG),
    "vectors past the last": (
        "normalise",
        "i + (VECTORS - 1) * LANES < share.last",
        "i < share.last",
        "out-of-bounds read",
    ),
    "vectors of the next part": ("norm_statistics", "min(first + groups.part_vectors, ", "max(0, ", WRONG),
    "groups past the last": (
        "normalise",
        "if (group >= groups.number) return {0, part, 0, 0, false};",
        "",
        "out-of-bounds",
    ),
    "a channel for every vector": ("normalise", "quotient(at, affine.plane)", "at", f"out-of-bounds|{WRONG}"),
    "channels of an image's first group": ("normalise", FIRST_OF_IMAGE, "", WRONG),
    "the residual after ReLU": ("normalise", "if constexpr (RELU) y[j] = relu(y[j]);", "", WRONG),
    "dy where ReLU gave 0": ("norm_input_grad", "passes(y[j]) ? dz[j] : 0", "dz[j]", WRONG),
    "ReLU of an output without beta": (
        "norm_sums",
        "parameters.gamma[j], parameters.beta[j])",
        "parameters.gamma[j], 0)",
        WRONG,
    ),
    "what moves the deviation": ("norm_input_grad", "-mul_rn(vector.normalised[j], of_product)", "0", WRONG),
    "sums of warps added before all are there": ("norm_input_grad", "__syncthreads();\n        mine", "mine", RACE),
    "statistics of the first image": ("norm_sums", "(long long)place.run * ", "0 * ", WRONG),
    "a part's sums in the place of the first": (
        "norm_sums",
        "params.product[place]",
        "params.product[share.group]",
        NAN,
    ),
}


# The same for batch normalisation by words of channels.
NORM_WORDS = {
    "words past the last": ("word_statistics", "channel >= matrix.channels || ", "", "out-of-bounds"),
    "a sharer never heard": ("word_statistics", "int half = (sharers + 1) / 2;", "int half = sharers / 2;", WRONG),
    "pixels of the next part": ("word_statistics", "min(first + matrix.part_pixels, ", "max(0, ", WRONG),
    "means of pixels that differ": ("word_statistics", "mul_rn(between, between)", "(Acc)0", WRONG),
    "pixels past the last": (
        "word_statistics",
        "pixel + (PIXELS - 1) * sharers < share.last",
        "pixel < share.last",
        f"out-of-bounds|{WRONG}",
    ),
    "a part never heard": ("word_moments", "part < params.parts", "part < params.parts - 1", WRONG),
    "channels past the last": ("word_moments", "if (channel < params.channels) {", "{", "out-of-bounds"),
    "a mean above the first element": ("word_moments", "add_rn(shift, all.mean())", "all.mean()", WRONG),
    "numbers of a word's first channel": ("word_normalise", "from[channel + j]", "from[channel]", WRONG),
    "words of the first channels": ("word_normalise", "* matrix.channels + share.channel", "* matrix.channels", NAN),
    "the residual after ReLU": ("word_normalise", "if constexpr (RELU) y[j] = relu(y[j]);", "", WRONG),
    "sums read before all are there": (
        "word_sums",
        "__syncthreads();\n        if (sharer + half",
        "if (sharer + half",
        RACE,
    ),
    "a part's sums in the place of the first": ("word_sums", "(long long)share.part * ", "0 * ", f"{NAN}|{WRONG}"),
    "dy where ReLU gave 0": ("word_sums", "passes(y[j]) ? dz[j] : 0", "dz[j]", WRONG),
    "what moves the deviation": (
        "word_input_grad",
        "-mul_rn(word.normalised[j], of_product[j])",
        "0",
        WRONG,
    ),
}


# The same for the kernel of dropout and those of losses.
DROPOUT = {
    "a round less": ("dropout", "round < 10", "round < 9", WRONG),
    "words change places": ("dropout", "a = c_high ^ b ^ key0", "a = a_high ^ b ^ key0", WRONG),
    "the second half of a key": ("dropout", "params.key0, params.key1)", "params.key0, params.key0)", WRONG),
    "the step forgotten": ("dropout", "position[1], position[2]", "position[1], position[1]", WRONG),
    "each vector the same words": ("dropout", "words.at[i + j]", "words.at[0]", WRONG),
    "what equals the threshold": ("dropout", "< params.threshold ?", "> params.threshold ?", WRONG),
}
LOSSES = {
    "warps replaced while they are read": ("cross_entropy", "__syncthreads();  // what was", ";  // what was", RACE),
    "a class beside the label's": ("cross_entropy", "k == label", "k == label + 1", WRONG),
    "pixels of other images": ("cross_entropy", "row.first + label * params.rows.inner.divisor", "row.first", WRONG),
    "ignored samples counted": ("label_weights", "label == params.ignored) weight = 0", "false) weight = 0", WRONG),
    "ignored samples learned from": ("cross_entropy", "ignored ? Acc(0) :", "false ? Acc(0) :", WRONG),
    "blocks forgotten": ("loss_sum", "i < params.number", "i < 1", WRONG),
}


# The same for the kernels of resizing.
RESIZE = {
    "missing bound of y": ("upsample", "if (index >= params.size) return;", "", "out-of-bounds"),
    "rows past the last": ("upsample", "min(before + 1, (int)axis.extent.divisor - 1)", "before + 1", "out-of-bounds"),
    "positions before the first": (
        "upsample",
        "max(0, axis.step * p",
        "max(-99, axis.step * p",
        f"out-of-bounds|{WRONG}",
    ),
    "shares change places": ("upsample", "mul_rn(after, source.share)", "mul_rn(after, source.rest)", WRONG),
    "0 times an infinity": ("upsample", "source.share == 0 ? before :", "false ? before :", NAN),
    "what lies behind forgotten": ("upsample_grad", "first_at(h + 1, params.rows)", "first_at(h, params.rows)", WRONG),
    "what lies before forgotten": ("upsample_grad", "first_at(w - LINEAR,", "first_at(w,", WRONG),
    "the last position twice": ("upsample_grad", "min(size, quotient", "max(0, quotient", f"out-of-bounds|{WRONG}"),
}


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    def forget() -> None:
        loader._kernel.cache_clear()
        loader._module.cache_clear()
        replay.forget()

    forget()
    with emulator.installed() as module:
        yield module
    forget()


def integers(*shape: int) -> np.ndarray:
    """Every sum of their products is exact, so any difference is an error."""
    return np.random.default_rng(0).integers(-4, 5, shape).astype("f4")


def shown(cupy: ModuleType, compute: Callable[..., Any], *arrays: np.ndarray, exact: bool = True) -> str:
    """What a computation shows of its kernel: a fault's message, or how its result differs from the NumPy path's."""
    expected = compute(*arrays)
    try:
        got = compute(*map(cupy.asarray, arrays)).get()
    except emulator.EmulatorFault as fault:
        return str(fault)
    if np.isnan(got).any():
        return NAN
    same = np.array_equal(got, expected) if exact else np.allclose(got, expected, rtol=1e-4, atol=1e-4)
    return "" if same else WRONG


def evidence(cupy: ModuleType) -> str:
    """What a convolution with several tiles along every axis shows."""
    return shown(cupy, lambda x, w: kernels.conv2d(x, w, padding=1), integers(2, 9, 11, 13), integers(40, 9, 3, 2))


def evidence_of_products(cupy: ModuleType) -> str:
    """What linear layers of samples as rows and as columns show, of subnormal numbers and of some that overflow."""
    rng = np.random.default_rng(0)
    for power in (1.0, 1e-40, 1e24):
        x, w, b = (rng.standard_normal(shape) for shape in ((36, 70), (40, 70), (40,)))
        x, w, b = (np.float32(x * power), np.float32(w), np.float32(b * power))
        expected = (x.astype(float) @ w.astype(float).T + b) / power
        for axis in (0, 1):
            arrays = x if axis == 0 else np.ascontiguousarray(x.T), w, b
            try:
                with use_float32_precision("tf32x3"):
                    got = kernels.linear(*map(cupy.asarray, arrays), batch_axis=axis).get() / power
            except emulator.EmulatorFault as fault:
                return str(fault)
            if not np.isfinite(got).all():
                return NAN
            if not np.allclose(got if axis == 0 else got.T, expected, rtol=5e-5, atol=5e-5):
                return WRONG
    return ""


def evidence_of_few_channels(cupy: ModuleType) -> str:
    """What a strided convolution of 3 channels and its input gradient show, in several blocks along every axis."""
    x, w, dy = integers(2, 3, 37, 60), integers(5, 3, 5, 3), integers(2, 5, 18, 30)
    options = {"stride": 2, "padding": ((1, 2), (1, 1))}
    forward = shown(cupy, lambda x, w: kernels.conv2d(x, w, **options), x, w)
    return forward or shown(cupy, lambda dy, w: kernels.conv2d_input_grad(dy, w, x.shape, **options), dy, w)


def evidence_of_pooling(cupy: ModuleType) -> str:
    """What the taps and the gradient of max pooling of whole planes show, with ties and NaN in them."""
    x = integers(2, 35, 7, 7)
    x[:, 1::2, ::3, ::2] = np.nan
    taps, dy = kernels.max_pool2d(x, 7)[1], integers(2, 35, 1, 1) + 9
    forward = shown(cupy, lambda x: kernels.max_pool2d(x, 7)[1], x)
    return forward or shown(cupy, lambda dy, taps: kernels.max_pool2d_grad(dy, taps, x.shape, 7), dy, taps)


def evidence_of_volumes(cupy: ModuleType) -> str:
    """What pooling of volumes shows, with infinities where windows begin in padding."""
    x = integers(2, 2, 7, 5, 6)
    x[:, 1, :3] = -np.inf
    return shown_of_pool3d(cupy, x, NCHW)


def evidence_of_pooling_last(cupy: ModuleType) -> str:
    """The same with channels last, in two words of four, and of dilated windows, of which some lie in padding."""
    x = integers(2, 7, 5, 6, 8)
    x[:, :3, ..., 1::2] = -np.inf
    return shown_of_pool3d(cupy, x, NHWC) or shown_of_dilated(cupy, 1, 1) or shown_of_dilated(cupy, 5, 4)


def evidence_of_shared_windows(cupy: ModuleType) -> str:
    """What windows of whole images and volumes show, with ties and NaN in them."""
    for extents, rank, padding in (((9, 8), 2, 0), ((3, 6, 5), 3, (1, 0, 2))):
        x = integers(1, *extents, 72 if rank == 2 else 12)
        x[:, 1::2, ::3, ..., ::2] = np.nan
        options = {"stride": 1, "padding": padding, "rank": rank, "layout": NHWC}
        g = PoolGeometry.of("max_pool", x.shape, extents, dilation=1, **options)
        average = AvgPoolGeometry.of_average("avg_pool", x.shape, extents, **options)
        numbers = 720 * np.nan_to_num(x)  # whose means are whole numbers
        found = shown(cupy, lambda x, g=g: _pool(x).max_pool(x, g)[1], x)
        found = found or shown(cupy, lambda x, g=average: _pool(x).avg_pool(x, g), numbers)
        if found:
            return found
    return ""


def _pool(array: Any) -> Any:
    return cpu if isinstance(array, np.ndarray) else cuda


def shown_of_dilated(cupy: ModuleType, *extents: int) -> str:
    x, options = integers(1, *extents, 8), {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2, "layout": NHWC}
    taps = kernels.max_pool2d(x, **options)[1]
    forward = shown(cupy, lambda x: kernels.max_pool2d(x, **options)[1], x)
    dy = integers(*taps.shape) + 9
    return forward or shown(cupy, lambda dy, taps: kernels.max_pool2d_grad(dy, taps, x.shape, **options), dy, taps)


def shown_of_pool3d(cupy: ModuleType, x: np.ndarray, layout: str) -> str:
    options = {"stride": (2, 1, 2), "padding": ((3, 1), (0, 1), (1, 0)), "rank": 3, "layout": layout}
    g = PoolGeometry.of("max_pool3d", x.shape, (3, 2, 2), dilation=(2, 1, 1), **options)
    average = AvgPoolGeometry.of_average("avg_pool3d", x.shape, (4, 2, 2), count_include_pad=False, **options)
    adaptive = AdaptivePoolGeometry.of("adaptive_avg_pool3d", x.shape, output_size=(5, 2, 3), rank=3, layout=layout)
    taps, dy = cpu.max_pool(x, g)[1], integers(*g.y_shape) + 9

    def on(array):
        return cpu if isinstance(array, np.ndarray) else cuda

    calls = (
        (lambda x: on(x).max_pool(x, g)[1], x),
        (lambda x: on(x).max_pool(x, g)[0], x),
        (lambda dy, taps: on(dy).max_pool_grad(dy, taps, g), dy, taps),
        (lambda taps: on(taps).max_pool_indices(taps, g), taps),
        (lambda x: on(x).avg_pool(x, average), integers(*x.shape) * 3),
        (lambda dy: on(dy).avg_pool_grad(dy, average), integers(*average.y_shape) * 48),
        (lambda x: on(x).adaptive_avg_pool(x, adaptive), integers(*x.shape) * 144),
        (lambda dy: on(dy).adaptive_avg_pool_grad(dy, adaptive), integers(*adaptive.y_shape) * 144),
    )
    return next(filter(None, (shown(cupy, *each) for each in calls)), "")


def evidence_of_conv_volumes(cupy: ModuleType) -> str:
    """What strided convolutions of volumes show, one of them depthwise, in which windows begin and end in padding."""
    found = (shown_of_conv3d(cupy, channels, groups) for channels, groups in ((6, 1), (2, 2)))
    return next(filter(None, found), "")


def shown_of_conv3d(cupy: ModuleType, channels: int, groups: int) -> str:
    options = {"stride": (2, 1, 2), "padding": ((3, 1), (0, 1), (1, 0)), "dilation": (3, 1, 1), "groups": groups}
    x, w = integers(2, channels, 7, 5, 6), integers(4, channels // groups, 3, 2, 2)
    dy = integers(*kernels.conv3d(x, w, **options).shape)
    calls = (
        (lambda x, w: kernels.conv3d(x, w, **options), x, w),
        (lambda dy, w: kernels.conv3d_input_grad(dy, w, x.shape, **options), dy, w),
        (lambda dy, x: kernels.conv3d_weight_grad(dy, x, w.shape, **options), dy, x),
    )
    return next(filter(None, (shown(cupy, *each) for each in calls)), "")


def evidence_of_channels_last(cupy: ModuleType) -> str:
    """What strided convolutions in groups show, with several tiles along every axis and whole words of channels, with a
    bias, and their gradients."""
    options = {"stride": (2, 3), "padding": ((0, 2), (2, 0)), "dilation": (2, 1), "groups": 2, "layout": "NHWC"}
    x, w, b = integers(2, 17, 13, 24), integers(132, 3, 2, 12), integers(132)
    dy = integers(*kernels.conv2d(x, w, b, **options).shape)
    calls = (
        (lambda x, w, b: kernels.conv2d(x, w, b, **options), x, w, b),
        (lambda dy, w: kernels.conv2d_input_grad(dy, w, x.shape, **options), dy, w),
        (lambda dy, x: kernels.conv2d_parameter_grads(dy, x, w.shape, **options)[0], dy, x),
        (lambda dy, x: kernels.conv2d_parameter_grads(dy, x, w.shape, **options)[1], dy, x),
    )
    return next(filter(None, (shown(cupy, *each) for each in calls)), "")


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


def evidence_of_tiny(cupy: ModuleType) -> str:
    """What the gradients of a small strided convolution in groups show, whose sums have a block each."""
    arrays = integers(8, 6, 9, 8), integers(8, 4, 18, 15), integers(6, 2, 3, 2)
    options = {"stride": 2, "padding": 1, "groups": 2}
    found = (shown(cupy, lambda *a, i=i: kernels.conv2d_grads(*a, **options)[i], *arrays) for i in range(3))
    return next(filter(None, found), "")


def evidence_of_activations(cupy: ModuleType) -> str:
    """What the ReLU of a full block and a tail shows, and its gradient at NaN."""
    x, dy = integers(3, 347), integers(3, 347) + 9
    y = kernels.relu(x)
    y[0, ::5] = np.nan
    return shown(cupy, kernels.relu, x) or shown(cupy, kernels.relu_grad, dy, y)


def evidence_of_softmax(cupy: ModuleType) -> str:
    """What rows of a block, of a warp and of a thread show, of numbers so far apart that one is 1."""
    for shape, axis in (((2, 2100), 1), ((3, 150), 1), ((2, 5, 7, 9), 1)):
        x = 200 * np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype("f4")
        found = shown(cupy, lambda x, axis=axis: kernels.softmax(x, axis), x)
        if found:
            return found
    return ""


def evidence_of_norm(cupy: ModuleType) -> str:
    """What normalisation shows, in one part and in several, of every layout of gamma and beta."""
    x, dy, residual = (
        integers(5, 2, 29, 31),
        integers(5, 2, 29, 31)[::-1].copy(),
        integers(5, 2, 29, 31)[..., ::-1].copy(),
    )
    few, rows, gamma = integers(33, 16, 3), integers(33, 16)[::-1].copy(), integers(16) + 6
    mean, var = kernels.batch_norm(x)[1:]
    group_mean, group_var = kernels.group_norm(few, 8)[1:]
    gamma2, beta2 = gamma[:2].copy(), np.array([9, -9], "f4")
    y = kernels.batch_norm(x, gamma2, beta2, activation="relu")[0]

    def grads(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, y: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var, activation="relu", beta=beta, y=y)

    def whole(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var)

    small, small_dy = x[:, :, :9, :9].copy(), dy[:, :, :9, :9].copy()
    small_mean, small_var = kernels.batch_norm(small)[1:]
    finished = {"activation": "relu"}
    calls: tuple[tuple[Any, ...], ...] = (
        (lambda x, g, b, r: kernels.batch_norm(x, g, b, residual=r, **finished)[0], x, gamma2, beta2, residual),
        (lambda x, g, b: kernels.batch_norm(x, g, b)[0], small, gamma2, beta2),
        (lambda x: kernels.batch_norm(x)[0], few),
        (lambda x, g: kernels.group_norm(x, 8, g, g)[0], few, gamma),
        (lambda x, g: kernels.group_norm(x, 4, g, g)[0], rows, gamma),
        *((lambda *a, i=i: grads(*a)[i], dy, x, gamma2, beta2, mean, var, y) for i in range(3)),
        (lambda *a: whole(*a)[0], small_dy, small, gamma2, beta2, small_mean, small_var),
        *(
            (
                lambda *a, i=i: kernels.group_norm_grads(a[0], a[1], 8, *a[2:])[i],
                few[::-1].copy(),
                few,
                gamma,
                group_mean,
                group_var,
            )
            for i in range(3)
        ),
    )
    return next(filter(None, (shown(cupy, *each, exact=False) for each in calls)), "")


def evidence_of_norm_words(cupy: ModuleType) -> str:
    """What batch normalisation with channels last shows, of two blocks of words and of several parts."""
    x, residual, gamma = integers(2, 12, 11, 132) + 9, integers(2, 12, 11, 132)[::-1].copy(), integers(132) + 6
    x, beta = x + np.arange(132, dtype="f4") % 7, integers(132)
    finished = {"activation": "relu", "layout": NHWC}
    y, mean, var = kernels.batch_norm(x, gamma, beta, **finished)

    def grads(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, y: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var, beta=beta, y=y, **finished)

    calls: tuple[tuple[Any, ...], ...] = (
        (lambda x, g, b, r: kernels.batch_norm(x, g, b, residual=r, **finished)[0], x, gamma, beta, residual),
        *((lambda *a, i=i: grads(*a)[i], residual, x, gamma, beta, mean, var, y) for i in range(3)),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(words, "ENOUGH_ELEMENTS", 0)
        return next(filter(None, (shown(cupy, *each, exact=False) for each in calls)), "")


def evidence_of_dropout(cupy: ModuleType) -> str:
    """What the mask of a block and a tail shows."""
    position = np.array([3, 1, 2], np.uint32)
    x = np.ones((3, 347), np.float32)
    return shown(cupy, lambda x, position: kernels.dropout(x, position, p=0.5, seed=2**40 + 7), x, position)


def evidence_of_losses(cupy: ModuleType) -> str:
    """What the cross entropy of pixels, some of them ignored, and of rows of a block each shows in four decimals."""
    labels = np.random.default_rng(0).integers(0, 4, (8, 8, 8))
    for shape, wanted in (((8, 4, 8, 8), labels), ((2, 4096), labels[0, 0, :2])):
        x = integers(*shape)
        for i in range(2):
            options = {"ignore_index": int(labels[0, 0, 0]), "label_smoothing": 0.5} if len(shape) > 2 else {}
            found = shown(cupy, lambda x, n, i=i, o=options: kernels.cross_entropy(x, n, **o)[i].round(4), x, wanted)
            if found:
                return found
    return ""


def evidence_of_resizing(cupy: ModuleType) -> str:
    """What images of twice and four times the pixels, whose shares are exact, and their gradient show."""
    x, dy = integers(2, 3, 4, 7), integers(2, 3, 8, 28)
    x[0, 0, 3, 6] = np.inf
    forward = shown(cupy, lambda x: kernels.upsample(x, (8, 28), "bilinear"), x)
    return forward or shown(cupy, lambda dy: kernels.upsample_grad(dy, x.shape, "bilinear"), dy)


def mutate(cupy: ModuleType, kernel: str, old: str, new: str) -> None:
    """Replace `old` in the source of this kernel from now on."""
    raw_module = cupy.RawModule

    def mutated(*, code: str, options: tuple[str, ...]) -> Any:
        if f" {kernel}(" in code:
            assert old in code, "the kernels no longer contain what this mutation replaces"
            code = code.replace(old, new)
        return raw_module(code=code, options=options)

    cupy.RawModule = mutated


def test_kernel_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence(cupy) == ""
    assert [launch.grid[0] > 1 for launch in launches if launch.name == "conv_forward"] == [True]


@pytest.mark.parametrize(("old", "new", "shown_by"), MUTATIONS.values(), ids=MUTATIONS)
def test_mutation_is_caught(cupy: ModuleType, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, "conv_forward", old, new)
    found = evidence(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_16_bit_elements_read_outside_the_image_are_caught(cupy: ModuleType) -> None:
    """Elements that pass through registers: their addresses may lie anywhere where nothing is read."""
    arrays = integers(2, 9, 11, 13).astype(np.float16), integers(40, 9, 3, 2).astype(np.float16)

    def compute(x: Any, w: Any) -> Any:
        return kernels.conv2d(x, w, padding=1)

    with emulator.record_launches() as launches:
        assert shown(cupy, compute, *arrays) == ""
    assert "conv_forward" in {launch.name for launch in launches}
    mutate(cupy, "conv_forward", "load_if(word.valid, ", "load_if(true, ")
    loader._kernel.cache_clear()
    loader._module.cache_clear()
    replay.forget()
    found = shown(cupy, compute, *arrays)
    assert any(each in found for each in OUTSIDE.split("|")), found


def test_products_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_products(cupy) == ""


@pytest.mark.parametrize(("old", "new", "shown_by"), PRODUCTS.values(), ids=PRODUCTS)
def test_mutation_of_products_is_caught(cupy: ModuleType, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, "linear", old, new)
    found = evidence_of_products(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_kernels_of_few_channels_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence_of_few_channels(cupy) == ""
    assert [launch.name for launch in launches] == ["few_channels", "few_channels_input_grad"]


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), FEW_CHANNELS.values(), ids=FEW_CHANNELS)
def test_mutation_of_few_channels_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_few_channels(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_pooling_kernels_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_pooling(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), POOLING.values(), ids=POOLING)
def test_mutation_of_pooling_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_pooling(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_kernels_of_volumes_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_volumes(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), VOLUMES.values(), ids=VOLUMES)
def test_mutation_of_volumes_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_volumes(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_pooling_with_channels_last_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_pooling_last(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), POOLING_LAST.values(), ids=POOLING_LAST)
def test_mutation_of_pooling_with_channels_last_is_caught(
    cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str
) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_pooling_last(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_shared_windows_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_shared_windows(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), SHARED_WINDOWS.values(), ids=SHARED_WINDOWS)
def test_mutation_of_shared_windows_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_shared_windows(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_convolution_of_volumes_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_conv_volumes(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), CONV_VOLUMES.values(), ids=CONV_VOLUMES)
def test_mutation_of_convolution_of_volumes_is_caught(
    cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str
) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_conv_volumes(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_depthwise_kernels_with_channels_last_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_depthwise_last(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), DEPTHWISE_LAST.values(), ids=DEPTHWISE_LAST)
def test_mutation_of_depthwise_with_channels_last_is_caught(
    cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str
) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_depthwise_last(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_convolution_with_channels_last_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence_of_channels_last(cupy) == ""
    entries = FORWARD_LAST, INPUT_GRAD_LAST, WEIGHT_GRAD_LAST
    assert {launch.name for launch in launches if launch.grid[0] > 1}.issuperset(entries)


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), CHANNELS_LAST.values(), ids=CHANNELS_LAST)
def test_mutation_of_channels_last_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_channels_last(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_tiny_kernel_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence_of_tiny(cupy) == ""
    assert launches[-1].name == "tiny_grads"


@pytest.mark.parametrize(("old", "new", "shown_by"), TINY.values(), ids=TINY)
def test_mutation_of_tiny_is_caught(cupy: ModuleType, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, "tiny_grads", old, new)
    found = evidence_of_tiny(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_activation_kernels_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence_of_activations(cupy) == ""
    assert [(launch.name, launch.grid[0]) for launch in launches] == [("activation", 2), ("activation_grad", 2)]


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_mutation_of_activations_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_activations(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_softmax_kernel_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_softmax(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), SOFTMAX.values(), ids=SOFTMAX)
def test_mutation_of_softmax_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_softmax(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_kernels_of_normalisation_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence_of_norm(cupy) == ""
    assert {launch.name for launch in launches} == {
        "norm_statistics",
        "normalise",
        "norm_sums",
        "norm_input_grad",
        "split_sum",
    }


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), NORM.values(), ids=NORM)
def test_mutation_of_normalisation_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_norm(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_norm_kernels_by_words_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_norm_words(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), NORM_WORDS.values(), ids=NORM_WORDS)
def test_mutation_of_norm_by_words_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_norm_words(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_dropout_kernel_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_dropout(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), DROPOUT.values(), ids=DROPOUT)
def test_mutation_of_dropout_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_dropout(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_loss_kernels_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_losses(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), LOSSES.values(), ids=LOSSES)
def test_mutation_of_losses_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_losses(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_resizing_kernels_as_they_are_have_no_fault(cupy: ModuleType) -> None:
    assert evidence_of_resizing(cupy) == ""


@pytest.mark.parametrize(("kernel", "old", "new", "shown_by"), RESIZE.values(), ids=RESIZE)
def test_mutation_of_resizing_is_caught(cupy: ModuleType, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    found = evidence_of_resizing(cupy)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_grid_one_block_short_is_caught(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = emulator.module.Kernel.__call__

    def short(self: Any, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, **options: Any) -> None:
        launch(self, (max(1, grid[0] - 1), *grid[1:]), block, *args, **options)

    monkeypatch.setattr(emulator.module.Kernel, "__call__", short)
    assert evidence(cupy) == NAN
