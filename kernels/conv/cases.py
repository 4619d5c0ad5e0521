"""The named configurations of convolution that the parity tests and `backstride check` run.

Small enough for a slow emulator, and awkward on purpose: a shape earns its place by a mistake that only it would show.
"""

from __future__ import annotations

from typing import Any

from ..operation import Case


def _conv(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Case:
    """x is (N, C, H, W), w is (K, C/groups, R, S)."""
    return Case(name, x, w, options)


CONV = (
    _conv("plain-3x3", (2, 4, 7, 7), (5, 4, 3, 3), padding=1),
    _conv("backprop-text", (10, 3, 29, 28), (2, 3, 3, 2), stride=2),
    _conv("one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    _conv("one-pixel-in-padding", (2, 3, 1, 1), (4, 3, 3, 3), padding=1),
    _conv("no-input-channels", (2, 0, 5, 4), (3, 0, 3, 3), padding=1),
    _conv("1x1", (3, 7, 5, 6), (9, 7, 1, 1)),
    _conv("1x1-strided", (2, 7, 9, 8), (5, 7, 1, 1), stride=2),
    _conv("1x1-padded", (2, 3, 4, 5), (4, 3, 1, 1), padding=2),
    _conv("empty-batch", (0, 3, 6, 7), (4, 3, 3, 3), padding=1),
    _conv("rectangular-image", (2, 3, 5, 17), (4, 3, 3, 3), padding=1),
    _conv("rectangular-kernel", (2, 3, 9, 8), (4, 3, 1, 5), padding=(0, 2)),
    _conv("rectangular-all", (1, 2, 11, 7), (3, 2, 4, 2), stride=(3, 1), padding=(2, 1), dilation=(1, 3)),
    _conv("row-image", (2, 3, 1, 19), (4, 3, 1, 3)),
    _conv("column-image", (2, 3, 19, 1), (4, 3, 3, 1)),
    _conv("even-kernel", (2, 3, 8, 9), (4, 3, 4, 2), padding=1),
    _conv("stride-over-kernel", (2, 3, 13, 11), (4, 3, 2, 2), stride=4),
    _conv("stride-over-image", (2, 3, 4, 5), (4, 3, 2, 3), stride=7),
    _conv("rows-unreached", (2, 3, 10, 12), (4, 3, 3, 3), stride=3),
    _conv("first-window-in-padding", (1, 2, 4, 4), (3, 2, 2, 2), stride=2, padding=2),
    _conv("pad-top-only", (2, 3, 6, 6), (4, 3, 3, 3), padding=((2, 0), (0, 0))),
    _conv("pad-right-only", (2, 3, 6, 6), (4, 3, 3, 3), padding=((0, 0), (0, 2))),
    _conv("pad-each-side-differently", (2, 3, 7, 6), (4, 3, 4, 3), stride=2, padding=((0, 3), (2, 1))),
    _conv("pad-over-kernel", (2, 3, 3, 4), (4, 3, 2, 2), padding=(3, 4)),
    _conv("valid", (2, 3, 6, 7), (4, 3, 3, 2), padding="valid"),
    _conv("same-odd", (2, 3, 6, 7), (4, 3, 3, 5), padding="same"),
    _conv("same-even", (2, 3, 6, 7), (4, 3, 4, 2), padding="same"),
    _conv("same-strided", (2, 3, 10, 7), (4, 3, 4, 3), padding="same", stride=(3, 2)),
    _conv("same-dilated", (2, 3, 8, 7), (4, 3, 2, 3), padding="same", dilation=(3, 2)),
    _conv("window-covers-all", (2, 3, 6, 5), (4, 3, 6, 5)),
    _conv("window-over-image", (2, 3, 3, 4), (4, 3, 7, 9), padding=(3, 4)),
    _conv("large-kernel", (1, 3, 17, 16), (2, 3, 11, 11), stride=4, padding=2),
    _conv("groups", (2, 6, 7, 6), (4, 3, 3, 3), padding=1, groups=2),
    _conv("groups-uneven-extents", (1, 9, 6, 5), (15, 3, 3, 2), stride=2, padding=1, groups=3),
    _conv("groups-1x1", (2, 8, 5, 4), (12, 2, 1, 1), groups=4),
    _conv("depthwise", (2, 5, 8, 7), (5, 1, 3, 3), padding=1, groups=5),
    _conv("depthwise-strided", (2, 5, 9, 8), (5, 1, 3, 3), stride=2, padding=1, groups=5),
    _conv("depthwise-multiplier", (2, 3, 8, 7), (6, 1, 3, 2), padding=1, groups=3),
    _conv("depthwise-dilated", (1, 4, 9, 9), (4, 1, 3, 3), padding=2, dilation=2, groups=4),
    _conv("dilated", (2, 3, 9, 8), (4, 3, 3, 3), padding=2, dilation=2),
    _conv("dilated-strided-coprime", (2, 3, 13, 12), (4, 3, 3, 3), stride=2, padding=3, dilation=3),
    _conv("dilated-strided-gcd", (2, 3, 15, 14), (4, 3, 3, 3), stride=4, padding=2, dilation=6),
    _conv("dilated-equals-stride", (1, 2, 11, 10), (3, 2, 3, 2), stride=2, dilation=2, padding=1),
    _conv("aligned-rows", (2, 6, 7, 16), (5, 6, 3, 1), padding=(1, 0)),
    _conv("dilated-past-image", (1, 2, 3, 3), (3, 2, 3, 3), dilation=5, padding=5),
    _conv("rgb-stem", (2, 3, 19, 17), (8, 3, 7, 7), stride=2, padding=3),
    _conv("one-output-channel", (2, 5, 6, 7), (1, 5, 3, 3)),
    _conv("batch-over-tile", (33, 2, 3, 3), (3, 2, 2, 2)),
    _conv("channels-cross-tile", (1, 33, 5, 5), (17, 33, 3, 3), padding=1),
    _conv("kernels-cross-tile", (1, 5, 5, 6), (67, 5, 1, 3)),
    _conv("image-crosses-tile", (1, 2, 13, 67), (3, 2, 3, 3), padding=1),
    _conv("many-channels-few-pixels", (2, 65, 3, 2), (9, 65, 2, 2)),
)
"""Convolution, for the forward operation and its three gradients."""

CONV_LARGE = (
    _conv("3x3-32-channels", (2, 32, 27, 30), (36, 32, 3, 3), padding=1),
    _conv("3x3-many-images-7x7", (24, 40, 7, 7), (33, 40, 3, 3), padding=1),
    _conv("3x3-unpadded", (2, 34, 41, 22), (32, 34, 3, 3)),
    _conv("3x3-groups", (2, 64, 21, 22), (64, 32, 3, 3), padding=((1, 0), (0, 1)), groups=2),
    _conv("3x3-strided-channels", (3, 48, 29, 28), (64, 48, 3, 3), stride=2, padding=1),
    _conv("3x3-dilated-channels", (2, 40, 26, 25), (40, 40, 3, 3), dilation=2, padding=2),
    _conv("1x1-128-channels", (4, 128, 14, 15), (130, 128, 1, 1)),
    _conv("1x1-strided-channels", (4, 96, 15, 14), (70, 96, 1, 1), stride=2),
    _conv("5x5-channels", (3, 32, 28, 27), (40, 32, 5, 5), padding=2),
    _conv("7x7-stem", (3, 3, 61, 58), (64, 3, 7, 7), stride=2, padding=3),
    _conv("depthwise-96", (3, 96, 41, 40), (96, 1, 3, 3), padding=1, groups=96),
    _conv("many-images", (70, 16, 15, 13), (20, 16, 3, 3), padding=1),
)
"""Large enough that a path chooses its blocked, threaded or transformed algorithms; too large for an emulator."""


def _transpose(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Case:
    """x is (N, C, H, W), w is (C, K/groups, R, S)."""
    return Case(name, x, w, options)


CONV_TRANSPOSE = (
    _transpose("plain", (2, 3, 5, 6), (3, 4, 3, 3)),
    _transpose("one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    _transpose("upsample-2x2", (2, 4, 4, 5), (4, 3, 2, 2), stride=2),
    _transpose("padded", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=1),
    _transpose("output-padding", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=1, output_padding=1),
    _transpose("output-padding-by-dilation", (2, 3, 4, 4), (3, 2, 2, 3), dilation=3, output_padding=(2, 1)),
    _transpose("stride-over-kernel", (2, 3, 4, 3), (3, 4, 2, 2), stride=4),
    _transpose("rectangular", (1, 2, 3, 7), (2, 3, 4, 1), stride=(2, 3), padding=(2, 0), output_padding=(1, 2)),
    _transpose("asymmetric-padding", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=((0, 2), (1, 0))),
    _transpose("dilated-strided", (1, 2, 4, 5), (2, 3, 3, 2), stride=2, dilation=3, padding=1),
    _transpose("groups", (2, 6, 4, 5), (6, 2, 3, 3), stride=2, padding=1, groups=3),
    _transpose("depthwise", (2, 4, 5, 4), (4, 1, 3, 3), stride=2, padding=1, groups=4),
    _transpose("depthwise-multiplier", (2, 3, 4, 4), (3, 2, 2, 3), groups=3),
    _transpose("1x1", (2, 5, 4, 3), (5, 6, 1, 1)),
    _transpose("no-input-channels", (2, 0, 4, 3), (0, 4, 3, 2), stride=2),
    _transpose(
        "depthwise-output-padding-by-dilation",
        (3, 6, 9, 4),
        (6, 1, 5, 1),
        padding=(0, 1),
        output_padding=(0, 2),
        dilation=(1, 3),
        groups=6,
    ),
    _transpose(
        "depthwise-output-padding-by-both",
        (2, 3, 4, 6),
        (3, 1, 2, 3),
        stride=(3, 1),
        padding=((0, 1), (3, 5)),
        output_padding=(1, 2),
        dilation=3,
        groups=3,
    ),
    _transpose("empty-batch", (0, 3, 4, 4), (3, 4, 3, 3)),
)
