"""Configurations of convolution along one axis; those of two axes are in cases.py."""

from __future__ import annotations

from .cases import case

CONV = (
    case("line", (2, 3, 17), (4, 3, 3), padding=1),
    case("line-one-element", (2, 3, 1), (4, 3, 1)),
    case("line-one-element-in-padding", (2, 3, 1), (4, 3, 4), padding=((3, 2),)),
    case("line-1-tap", (3, 7, 30), (9, 7, 1)),
    case("line-stride-over-kernel", (2, 3, 23), (4, 3, 2), stride=5),
    case("line-stride-is-kernel", (2, 3, 23), (5, 3, 4), stride=4),
    case("line-pad-left-only", (2, 3, 12), (4, 3, 3), stride=2, padding=((2, 0),)),
    case("line-pad-right-only", (2, 3, 12), (4, 3, 3), padding=((0, 3),)),
    case("line-dilated-strided", (2, 4, 29), (4, 2, 4), stride=2, padding=3, dilation=3, groups=2),
    case("line-same-even", (2, 3, 14), (4, 3, 4), stride=3, padding="same"),
    case("line-depthwise", (2, 5, 21), (10, 1, 5), padding=2, groups=5),
    case("line-window-over-image", (1, 2, 4), (3, 2, 9), padding=4),
    case("line-huge-window", (1, 2, 90), (3, 2, 70), padding=(35,)),
    case("line-empty-batch", (0, 3, 9), (4, 3, 3)),
    case("line-of-several-tiles", (1, 3, 301), (5, 3, 3), padding=1),
)

CONV_LARGE = (case("line-of-speech", (4, 80, 300), (64, 80, 3), stride=2, padding=1),)

CONV_TRANSPOSE = (
    case("line", (2, 3, 9), (3, 4, 3)),
    case("line-one-element", (1, 1, 1), (1, 1, 1)),
    case("line-upsample", (2, 4, 7), (4, 3, 2), stride=2),
    case("line-stride-over-kernel", (2, 3, 5), (3, 4, 2), stride=4),
    case("line-output-padding", (2, 3, 7), (3, 4, 3), stride=2, padding=((0, 2),), output_padding=1),
    case("line-output-padding-by-dilation", (2, 3, 7), (3, 2, 3), dilation=3, output_padding=2),
    case("line-groups", (2, 6, 8), (6, 2, 4), stride=3, padding=1, dilation=2, groups=3),
    case("line-depthwise", (2, 4, 9), (4, 1, 3), stride=2, padding=1, output_padding=1, groups=4),
)
