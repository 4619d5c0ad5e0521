"""Configurations of convolution with channels last, along one, two and three axes."""

from __future__ import annotations

from functools import partial

from ..layout import NHWC
from . import cases

case = partial(cases.case, layout=NHWC)
"""x is (N, H, W, C); w is (K, R, S, C/groups), or (C, R, S, K/groups) of a transposed convolution."""

CONV = (
    case("nhwc-3x3", (2, 7, 6, 4), (5, 3, 3, 4), padding=1),
    case("nhwc-whole-words", (2, 6, 7, 16), (24, 3, 3, 16), padding=1),
    case("nhwc-one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    case("nhwc-1x1", (3, 5, 6, 7), (9, 1, 1, 7)),
    case("nhwc-1x1-whole-words", (3, 5, 6, 16), (8, 1, 1, 16)),
    case("nhwc-1x1-strided", (2, 9, 8, 7), (5, 1, 1, 7), stride=2),
    case("nhwc-1x1-padded", (2, 4, 5, 3), (4, 1, 1, 3), padding=2),
    case("nhwc-1x1-groups", (2, 5, 4, 8), (12, 1, 1, 2), groups=4),
    case("nhwc-rgb-stem", (2, 19, 17, 3), (8, 7, 7, 3), stride=2, padding=3),
    case("nhwc-one-channel", (2, 6, 9, 1), (1, 3, 2, 1), padding=(1, 0)),
    case("nhwc-no-input-channels", (2, 5, 4, 0), (3, 3, 3, 0), padding=1),
    case("nhwc-empty-batch", (0, 6, 7, 3), (4, 3, 3, 3), padding=1),
    case("nhwc-groups", (1, 6, 5, 9), (15, 3, 2, 3), stride=2, padding=1, groups=3),
    case("nhwc-depthwise", (2, 8, 7, 5), (5, 3, 3, 1), padding=1, groups=5),
    case("nhwc-depthwise-multiplier", (2, 8, 7, 3), (6, 3, 2, 1), stride=(2, 1), padding=1, groups=3),
    case("nhwc-depthwise-words", (2, 9, 7, 16), (16, 3, 3, 1), padding=1, groups=16),
    case("nhwc-depthwise-strided", (2, 9, 10, 12), (12, 3, 3, 1), stride=2, padding=1, groups=12),
    case("nhwc-depthwise-dilated", (2, 9, 8, 4), (4, 5, 3, 1), padding=((4, 1), (0, 3)), dilation=2, groups=4),
    case("nhwc-depthwise-7x7", (1, 8, 9, 40), (40, 7, 7, 1), padding=3, groups=40),
    case("nhwc-depthwise-window-over-image", (2, 4, 5, 6), (6, 9, 8, 1), stride=(1, 2), padding=4, groups=6),
    case("nhwc-depthwise-stride-over-kernel", (2, 13, 16, 4), (4, 2, 3, 1), stride=5, padding=(1, 0), groups=4),
    case("nhwc-depthwise-empty-batch", (0, 6, 7, 8), (8, 3, 3, 1), groups=8),
    case("nhwc-depthwise-line", (2, 17, 8), (8, 4, 1), stride=3, padding=((2, 1),), groups=8),
    case("nhwc-depthwise-volume", (2, 4, 5, 6, 4), (4, 3, 2, 3, 1), stride=(2, 1, 2), padding=(2, 0, 1), groups=4),
    case("nhwc-stride-over-kernel", (2, 13, 11, 3), (4, 2, 2, 3), stride=4),
    case("nhwc-dilated", (2, 9, 8, 3), (4, 3, 2, 3), padding=(2, 1), dilation=(2, 3)),
    case("nhwc-dilated-strided", (2, 13, 12, 4), (4, 3, 3, 2), stride=2, padding=3, dilation=3, groups=2),
    case("nhwc-pad-each-side-differently", (2, 7, 6, 3), (4, 4, 3, 3), stride=2, padding=((0, 3), (2, 1))),
    case("nhwc-pad-bottom-only", (2, 6, 5, 3), (4, 3, 3, 3), padding=((0, 2), (0, 0))),
    case("nhwc-same-even", (2, 6, 7, 3), (4, 4, 2, 3), stride=(1, 2), padding="same"),
    case("nhwc-window-over-image", (2, 3, 4, 3), (4, 7, 9, 3), padding=(3, 4)),
    case("nhwc-channels-cross-tile", (1, 5, 5, 33), (67, 3, 1, 33)),
    case("nhwc-line", (2, 17, 3), (4, 3, 3), padding=1),
    case("nhwc-line-dilated-strided", (2, 29, 4), (4, 4, 2), stride=2, padding=((3, 1),), dilation=3, groups=2),
    case("nhwc-volume", (2, 4, 5, 6, 3), (4, 3, 2, 3, 3), padding=(1, 0, 1)),
    case("nhwc-volume-groups", (2, 4, 5, 3, 6), (4, 2, 3, 2, 3), stride=(1, 2, 1), padding=1, groups=2),
)

CONV_TRANSPOSE = (
    case("nhwc-plain", (2, 5, 6, 3), (3, 3, 2, 4)),
    case("nhwc-upsample-2x2", (2, 4, 5, 4), (4, 2, 2, 3), stride=2),
    case("nhwc-output-padding", (2, 5, 4, 3), (3, 3, 3, 4), stride=2, padding=((0, 2), (1, 0)), output_padding=1),
    case("nhwc-dilated-strided", (1, 4, 5, 2), (2, 3, 2, 3), stride=2, dilation=3, padding=1),
    case("nhwc-groups", (2, 4, 5, 6), (6, 3, 3, 2), stride=2, padding=1, groups=3),
    case("nhwc-depthwise", (2, 5, 4, 4), (4, 3, 3, 1), stride=2, padding=1, groups=4),
    case("nhwc-depthwise-multiplier", (2, 4, 5, 6), (6, 2, 3, 2), stride=3, output_padding=(2, 1), groups=3),
    case("nhwc-1x1", (2, 4, 3, 5), (5, 1, 1, 6)),
    case("nhwc-empty-batch", (0, 4, 4, 3), (3, 3, 3, 4)),
    case("nhwc-line", (2, 9, 3), (3, 3, 4), stride=2),
    case("nhwc-volume", (2, 3, 4, 2, 3), (3, 3, 2, 3, 4), stride=(1, 2, 1)),
)
