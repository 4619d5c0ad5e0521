"""The named configurations of convolution that the parity tests and `backstride check` run.

Small enough for a slow emulator, and awkward on purpose: a shape earns its place by a mistake that only it would show.
"""

from __future__ import annotations

from typing import Any

from ..operation import Case


def case(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Case:
    """x is (N, C, H, W); w is (K, C/groups, R, S), or (C, K/groups, R, S) of a transposed convolution."""
    return Case(name, x, w, options)


CONV = (
    case("plain-3x3", (2, 4, 7, 7), (5, 4, 3, 3), padding=1),
    case("backprop-text", (10, 3, 29, 28), (2, 3, 3, 2), stride=2),
    case("one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    case("one-pixel-in-padding", (2, 3, 1, 1), (4, 3, 3, 3), padding=1),
    case("no-input-channels", (2, 0, 5, 4), (3, 0, 3, 3), padding=1),
    case("1x1", (3, 7, 5, 6), (9, 7, 1, 1)),
    case("1x1-strided", (2, 7, 9, 8), (5, 7, 1, 1), stride=2),
    case("1x1-padded", (2, 3, 4, 5), (4, 3, 1, 1), padding=2),
    case("empty-batch", (0, 3, 6, 7), (4, 3, 3, 3), padding=1),
    case("rectangular-image", (2, 3, 5, 17), (4, 3, 3, 3), padding=1),
    case("rectangular-kernel", (2, 3, 9, 8), (4, 3, 1, 5), padding=(0, 2)),
    case("rectangular-all", (1, 2, 11, 7), (3, 2, 4, 2), stride=(3, 1), padding=(2, 1), dilation=(1, 3)),
    case("row-image", (2, 3, 1, 19), (4, 3, 1, 3)),
    case("column-image", (2, 3, 19, 1), (4, 3, 3, 1)),
    case("even-kernel", (2, 3, 8, 9), (4, 3, 4, 2), padding=1),
    case("stride-over-kernel", (2, 3, 13, 11), (4, 3, 2, 2), stride=4),
    case("stride-over-image", (2, 3, 4, 5), (4, 3, 2, 3), stride=7),
    case("rows-unreached", (2, 3, 10, 12), (4, 3, 3, 3), stride=3),
    case("first-window-in-padding", (1, 2, 4, 4), (3, 2, 2, 2), stride=2, padding=2),
    case("pad-top-only", (2, 3, 6, 6), (4, 3, 3, 3), padding=((2, 0), (0, 0))),
    case("pad-right-only", (2, 3, 6, 6), (4, 3, 3, 3), padding=((0, 0), (0, 2))),
    case("pad-each-side-differently", (2, 3, 7, 6), (4, 3, 4, 3), stride=2, padding=((0, 3), (2, 1))),
    case("pad-over-kernel", (2, 3, 3, 4), (4, 3, 2, 2), padding=(3, 4)),
    case("valid", (2, 3, 6, 7), (4, 3, 3, 2), padding="valid"),
    case("same-odd", (2, 3, 6, 7), (4, 3, 3, 5), padding="same"),
    case("same-even", (2, 3, 6, 7), (4, 3, 4, 2), padding="same"),
    case("same-strided", (2, 3, 10, 7), (4, 3, 4, 3), padding="same", stride=(3, 2)),
    case("same-dilated", (2, 3, 8, 7), (4, 3, 2, 3), padding="same", dilation=(3, 2)),
    case("window-covers-all", (2, 3, 6, 5), (4, 3, 6, 5)),
    case("window-over-image", (2, 3, 3, 4), (4, 3, 7, 9), padding=(3, 4)),
    case("large-kernel", (1, 3, 17, 16), (2, 3, 11, 11), stride=4, padding=2),
    case("groups", (2, 6, 7, 6), (4, 3, 3, 3), padding=1, groups=2),
    case("groups-uneven-extents", (1, 9, 6, 5), (15, 3, 3, 2), stride=2, padding=1, groups=3),
    case("groups-1x1", (2, 8, 5, 4), (12, 2, 1, 1), groups=4),
    case("depthwise", (2, 5, 8, 7), (5, 1, 3, 3), padding=1, groups=5),
    case("depthwise-strided", (2, 5, 9, 8), (5, 1, 3, 3), stride=2, padding=1, groups=5),
    case("depthwise-multiplier", (2, 3, 8, 7), (6, 1, 3, 2), padding=1, groups=3),
    case("depthwise-dilated", (1, 4, 9, 9), (4, 1, 3, 3), padding=2, dilation=2, groups=4),
    case("dilated", (2, 3, 9, 8), (4, 3, 3, 3), padding=2, dilation=2),
    case("dilated-strided-coprime", (2, 3, 13, 12), (4, 3, 3, 3), stride=2, padding=3, dilation=3),
    case("dilated-strided-gcd", (2, 3, 15, 14), (4, 3, 3, 3), stride=4, padding=2, dilation=6),
    case("dilated-equals-stride", (1, 2, 11, 10), (3, 2, 3, 2), stride=2, dilation=2, padding=1),
    case("aligned-rows", (2, 6, 7, 16), (5, 6, 3, 1), padding=(1, 0)),
    case("dilated-past-image", (1, 2, 3, 3), (3, 2, 3, 3), dilation=5, padding=5),
    case("rgb-stem", (2, 3, 19, 17), (8, 3, 7, 7), stride=2, padding=3),
    case("one-output-channel", (2, 5, 6, 7), (1, 5, 3, 3)),
    case("batch-over-tile", (33, 2, 3, 3), (3, 2, 2, 2)),
    case("channels-cross-tile", (1, 33, 5, 5), (17, 33, 3, 3), padding=1),
    case("kernels-cross-tile", (1, 5, 5, 6), (67, 5, 1, 3)),
    case("image-crosses-tile", (1, 2, 13, 67), (3, 2, 3, 3), padding=1),
    case("many-channels-few-pixels", (2, 65, 3, 2), (9, 65, 2, 2)),
)
"""Convolution, for the forward operation and its three gradients."""

CONV_LARGE = (
    case("3x3-32-channels", (2, 32, 27, 30), (36, 32, 3, 3), padding=1),
    case("3x3-many-images-7x7", (24, 40, 7, 7), (33, 40, 3, 3), padding=1),
    case("3x3-unpadded", (2, 34, 41, 22), (32, 34, 3, 3)),
    case("3x3-groups", (2, 64, 21, 22), (64, 32, 3, 3), padding=((1, 0), (0, 1)), groups=2),
    case("3x3-strided-channels", (3, 48, 29, 28), (64, 48, 3, 3), stride=2, padding=1),
    case("3x3-dilated-channels", (2, 40, 26, 25), (40, 40, 3, 3), dilation=2, padding=2),
    case("1x1-128-channels", (4, 128, 14, 15), (130, 128, 1, 1)),
    case("1x1-strided-channels", (4, 96, 15, 14), (70, 96, 1, 1), stride=2),
    case("5x5-channels", (3, 32, 28, 27), (40, 32, 5, 5), padding=2),
    case("7x7-stem", (3, 3, 61, 58), (64, 3, 7, 7), stride=2, padding=3),
    case("depthwise-96", (3, 96, 41, 40), (96, 1, 3, 3), padding=1, groups=96),
    case("many-images", (70, 16, 15, 13), (20, 16, 3, 3), padding=1),
    case("strips-of-rows", (2, 1, 90, 70), (64, 1, 3, 3), padding=((1, 0), (0, 1))),
    case("strips-unpadded", (2, 2, 131, 64), (60, 2, 3, 2), stride=(2, 1)),
)
"""Large enough that a path chooses its blocked, threaded or transformed algorithms; too large for an emulator."""


CONV_TRANSPOSE = (
    case("plain", (2, 3, 5, 6), (3, 4, 3, 3)),
    case("one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    case("upsample-2x2", (2, 4, 4, 5), (4, 3, 2, 2), stride=2),
    case("padded", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=1),
    case("output-padding", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=1, output_padding=1),
    case("output-padding-by-dilation", (2, 3, 4, 4), (3, 2, 2, 3), dilation=3, output_padding=(2, 1)),
    case("stride-over-kernel", (2, 3, 4, 3), (3, 4, 2, 2), stride=4),
    case("rectangular", (1, 2, 3, 7), (2, 3, 4, 1), stride=(2, 3), padding=(2, 0), output_padding=(1, 2)),
    case("asymmetric-padding", (2, 3, 5, 4), (3, 4, 3, 3), stride=2, padding=((0, 2), (1, 0))),
    case("dilated-strided", (1, 2, 4, 5), (2, 3, 3, 2), stride=2, dilation=3, padding=1),
    case("groups", (2, 6, 4, 5), (6, 2, 3, 3), stride=2, padding=1, groups=3),
    case("depthwise", (2, 4, 5, 4), (4, 1, 3, 3), stride=2, padding=1, groups=4),
    case("depthwise-multiplier", (2, 3, 4, 4), (3, 2, 2, 3), groups=3),
    case("1x1", (2, 5, 4, 3), (5, 6, 1, 1)),
    case("no-input-channels", (2, 0, 4, 3), (0, 4, 3, 2), stride=2),
    case(
        "depthwise-output-padding-by-dilation",
        (3, 6, 9, 4),
        (6, 1, 5, 1),
        padding=(0, 1),
        output_padding=(0, 2),
        dilation=(1, 3),
        groups=6,
    ),
    case(
        "depthwise-output-padding-by-both",
        (2, 3, 4, 6),
        (3, 1, 2, 3),
        stride=(3, 1),
        padding=((0, 1), (3, 5)),
        output_padding=(1, 2),
        dilation=3,
        groups=3,
    ),
    case("empty-batch", (0, 3, 4, 4), (3, 4, 3, 3)),
)
