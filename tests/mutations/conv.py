"""Faults planted in the kernels of convolution: products, the kernels of few channels and that of tiny layers."""

from __future__ import annotations

from types import ModuleType

from backstride import kernels

from .planted import NAN, RACE, WRONG, Planted, integers, shown

CONV = {
    "missing barrier in the main loop": ("conv_forward", "__syncthreads();  // this tile has arrived", ";//", RACE),
    "missing barrier before the tile is stored": (
        "conv_forward",
        "cp_async_wait<0>();\n    __syncthreads();",
        "",
        RACE,
    ),
    "missing __syncwarp": (
        "conv_forward",
        "__syncwarp();\n#pragma unroll\n        for (int first",
        "for (int first",
        RACE,
    ),
    "wait for one group too few": ("conv_forward", "cp_async_wait<AHEAD - 1>();", "cp_async_wait<AHEAD>();", RACE),
    "no wait": ("conv_forward", "cp_async_wait<AHEAD - 1>();", "", RACE),
    "missing bound of the image's columns": (
        "conv_forward",
        "valid &= (unsigned)(pixel.column + tap.column) < (unsigned)W;",
        "",
        f"out-of-bounds read|{WRONG}",
    ),
    "missing bound of the image's rows": (
        "conv_forward",
        "(unsigned)(pixel.row + tap.row) < (unsigned)H;",
        "true;",
        "out-of-bounds",
    ),
    "missing bound of the output's columns": (
        "conv_forward",
        "else return row >= 0 && n < columns;",
        "else return row >= 0;",
        "out-of-bounds write",
    ),
    "missing bound of the output's rows": (
        "conv_forward",
        "m < rows ? place(m) : -1",
        "place(m)",
        "out-of-bounds write",
    ),
    "wrong stride in shared memory": ("conv_forward", "row * LD + k : k * LD + row", "row * 8 + k : k * 8 + row", RACE),
    "tiles that overlap in shared memory": ("conv_forward", "stage(tile) + SIZE_A)", "stage(tile) + SIZE_A / 2)", RACE),
    "stage past the end of shared memory": (
        "conv_forward",
        "shared + tile % STAGES",
        "shared + tile",
        "not all in shared memory",
    ),
    "addresses outside the image": ("conv_forward", "base + only_if(valid, offset)", "base + offset", "out-of-bounds"),
    "all tiles are written where the first one is": (
        "conv_forward",
        "block = Block(block_index_again(), product)",
        "block = Block(0, product)",
        NAN,
    ),
    "one tile of the output is never written": (
        "conv_forward",
        "    cp_async_wait<0>();\n    __syncthreads();",
        "    if (blockIdx.x == 1) return false;\n    cp_async_wait<0>();\n    __syncthreads();",
        NAN,
    ),
}


def evidence_of_conv(cupy: ModuleType) -> str:
    """What a convolution with several tiles along every axis shows."""
    return shown(cupy, lambda x, w: kernels.conv2d(x, w, padding=1), integers(2, 9, 11, 13), integers(40, 9, 3, 2))


FORWARD = {
    "image read before it is whole": ("few_channels", "__syncthreads();\n#pragma unroll 1", "\n#pragma unroll 1", RACE),
    "image that begins elsewhere": ("few_channels", "modulo(-PAD_LEFT, VEC_X)", "0", f"misaligned|{WRONG}"),
}

INPUT_GRAD = {
    "piece read before it is whole": (
        "few_channels_input_grad",
        "__syncthreads();\n        add_filter",
        "add_filter",
        RACE,
    ),
    "piece filled while it is read": (
        "few_channels_input_grad",
        "rows.taps);\n        __syncthreads();",
        "rows.taps);",
        RACE,
    ),
    "taps of another residue class": (
        "few_channels_input_grad",
        "residue = (first + padding) % stride",
        "residue = first % stride",
        WRONG,
    ),
    "missing bound of dy's columns": (
        "few_channels_input_grad",
        "if (inside && ",
        "if (",
        f"out-of-bounds read|{WRONG}",
    ),
    "missing bound of dy's rows": (
        "few_channels_input_grad",
        " && (unsigned)(h + row) < (unsigned)height",
        "",
        "out-of-bounds read",
    ),
    "missing bound of dx's columns": (
        "few_channels_input_grad",
        "h < height && w + i < width",
        "h < height",
        f"out-of-bounds write|{WRONG}",
    ),
}


def evidence_of_few_channels(cupy: ModuleType) -> str:
    """What a strided convolution of 3 channels and its input gradient show, in several blocks along every axis."""
    x, w, dy = integers(2, 3, 37, 60), integers(5, 3, 5, 3), integers(2, 5, 18, 30)
    options = {"stride": 2, "padding": ((1, 2), (1, 1))}
    forward = shown(cupy, lambda x, w: kernels.conv2d(x, w, **options), x, w)
    return forward or shown(cupy, lambda dy, w: kernels.conv2d_input_grad(dy, w, x.shape, **options), dy, w)


TINY = {
    "lanes added before all are there": (
        "tiny_grads",
        "__syncthreads();\n        sum = of_warps[0]",
        "sum = of_warps[0]",
        RACE,
    ),
    "half of the lanes never heard": ("tiny_grads", "/ 2; mask > 0", "/ 2; mask > 1", WRONG),
    "the first window forgotten": ("tiny_grads", "int i = lane;", "int i = lane + 1;", WRONG),
    "padding read by dw": ("tiny_grads", "(unsigned)h >= (unsigned)H || ", "", f"SEGV|out-of-bounds read|{WRONG}"),
    "windows that start elsewhere": (
        "tiny_grads",
        "r * params.dilation_h - params.pad_top",
        "r * params.dilation_h",
        WRONG,
    ),
    "windows past the last row": ("tiny_grads", " || p >= P", "", f"out-of-bounds read|{WRONG}"),
    "columns between windows": (
        "tiny_grads",
        "split_off(q, params.stride_w) != 0 || ",
        "",
        f"out-of-bounds read|{WRONG}",
    ),
    "filters of the first group": ("tiny_grads", "n * params.K + group * filters", "n * params.K", WRONG),
    "missing bound of dx": ("tiny_grads", "if (index < params.dx_size) params.dx", "params.dx", "out-of-bounds"),
}


def evidence_of_tiny(cupy: ModuleType) -> str:
    """What the gradients of a small strided convolution in groups show, whose sums have a block each."""
    arrays = integers(8, 6, 9, 8), integers(8, 4, 18, 15), integers(6, 2, 3, 2)
    options = {"stride": 2, "padding": 1, "groups": 2}
    found = (shown(cupy, lambda *a, i=i: kernels.conv2d_grads(*a, **options)[i], *arrays) for i in range(3))
    return next(filter(None, found), "")


PLANTED = {
    "convolution": Planted(CONV, evidence_of_conv, several_blocks=True),
    "few channels": Planted(FORWARD | INPUT_GRAD, evidence_of_few_channels),
    "tiny layers": Planted(TINY, evidence_of_tiny),
}
