"""Faults planted in the kernels of convolution of volumes."""

from __future__ import annotations

from types import ModuleType

from backstride import kernels

from .planted import NAN, OUTSIDE, WRONG, Planted, integers, shown

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
    "tiles of all classes after the products": (
        "conv_input_grad",
        "split_off(index, params.classes);\n    block",
        "block",
        f"{OUTSIDE}|{NAN}",
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


def evidence_of_conv_volumes(cupy: ModuleType) -> str:
    """What strided convolutions of volumes show, in groups and depthwise, in which windows begin and end in padding."""
    found = (shown_of_conv3d(cupy, channels, groups) for channels, groups in ((6, 2), (2, 2)))
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


PLANTED = {
    "convolution of volumes": Planted(CONV_VOLUMES, evidence_of_conv_volumes),
}
