"""Faults planted in the kernels of convolution with channels last."""

from __future__ import annotations

from types import ModuleType

from backstride import kernels

from .planted import NAN, OUTSIDE, RACE, WRONG, Planted, integers, shown

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


PLANTED = {
    "convolution, channels last": Planted(CHANNELS_LAST, evidence_of_channels_last, several_blocks=True),
}
