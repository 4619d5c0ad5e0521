"""Configurations of convolution along three axes; those of two axes are in cases.py."""

from __future__ import annotations

from .cases import case

CONV = (
    case("volume", (2, 3, 4, 5, 6), (4, 3, 3, 3, 3), padding=1),
    case("volume-one-element", (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    case("volume-one-element-in-padding", (2, 3, 1, 1, 1), (4, 3, 2, 3, 3), padding=((0, 1), (1, 1), (2, 1))),
    case("volume-of-one-plane", (2, 3, 1, 6, 5), (4, 3, 1, 3, 2)),
    case("volume-of-one-column", (2, 3, 7, 1, 1), (4, 3, 3, 1, 1), stride=(2, 1, 1)),
    case("volume-1-tap", (2, 5, 3, 4, 5), (6, 5, 1, 1, 1)),
    case("volume-1-tap-strided", (2, 3, 5, 4, 7), (4, 3, 1, 1, 1), stride=(2, 3, 2)),
    case("volume-rectangular", (1, 2, 7, 5, 9), (3, 2, 2, 3, 4), stride=(1, 2, 3), padding=(1, 0, 2)),
    case("volume-stride-over-kernel", (2, 2, 7, 9, 8), (3, 2, 2, 1, 2), stride=(3, 4, 5)),
    case("volume-stride-is-kernel", (2, 3, 4, 7, 9), (5, 3, 2, 3, 4), stride=(2, 3, 4)),
    case("volume-pad-one-side", (2, 2, 4, 5, 5), (3, 2, 3, 3, 2), stride=2, padding=((2, 0), (0, 1), (0, 3))),
    case("volume-dilated", (1, 2, 7, 8, 9), (3, 2, 3, 2, 3), padding=(2, 1, 3), dilation=(2, 3, 2)),
    case("volume-dilated-strided", (1, 2, 9, 8, 9), (3, 2, 3, 3, 2), stride=(2, 4, 3), padding=2, dilation=(3, 2, 1)),
    case("volume-same-even", (2, 2, 5, 6, 7), (3, 2, 2, 4, 3), stride=(1, 2, 3), padding="same"),
    case("volume-groups", (2, 6, 4, 5, 3), (4, 3, 2, 3, 2), padding=1, groups=2),
    case("volume-depthwise", (2, 3, 5, 4, 6), (6, 1, 3, 2, 3), stride=(2, 1, 2), padding=1, groups=3),
    case("volume-window-over-image", (1, 2, 2, 3, 2), (3, 2, 5, 4, 6), padding=(2, 2, 3)),
    case("volume-huge-window", (1, 1, 7, 8, 9), (2, 1, 7, 7, 8)),
    case("volume-empty-batch", (0, 2, 3, 4, 5), (3, 2, 2, 2, 2)),
    case("volume-no-input-channels", (1, 0, 3, 3, 3), (2, 0, 2, 2, 2)),
    case("volume-crosses-tile", (1, 3, 3, 7, 33), (5, 3, 2, 3, 3), padding=(0, 1, 1)),
)

CONV_LARGE = (
    case("volume-3x3x3-channels", (2, 16, 8, 15, 14), (20, 16, 3, 3, 3), padding=1),
    case("volume-patches", (2, 3, 4, 28, 28), (40, 3, 2, 14, 14), stride=(2, 14, 14)),
)

CONV_TRANSPOSE = (
    case("volume", (2, 3, 3, 4, 2), (3, 4, 3, 2, 3)),
    case("volume-one-element", (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    case("volume-upsample", (2, 4, 2, 3, 4), (4, 3, 2, 2, 2), stride=2),
    case("volume-stride-over-kernel", (1, 3, 3, 2, 3), (3, 2, 1, 2, 2), stride=(3, 4, 3)),
    case(
        "volume-output-padding",
        (2, 2, 3, 4, 2),
        (2, 3, 3, 2, 3),
        stride=(2, 1, 3),
        padding=((0, 1), (1, 0), (2, 1)),
        output_padding=(1, 2, 0),
        dilation=(1, 3, 2),
    ),
    case("volume-groups", (1, 4, 3, 2, 3), (4, 2, 2, 3, 2), stride=(1, 2, 3), padding=1, dilation=2, groups=2),
    case(
        "volume-depthwise",
        (2, 3, 3, 4, 2),
        (3, 1, 3, 2, 3),
        stride=(2, 1, 2),
        padding=1,
        output_padding=1,
        groups=3,
        dilation=(1, 2, 1),
    ),
)
