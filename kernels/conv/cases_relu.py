"""Configurations of convolution that ends with a ReLU, along any axes: one for each way to compute it."""

from __future__ import annotations

from functools import partial

from ..layout import NHWC
from . import cases

case = partial(cases.case, activation="relu")

CONV = (
    case("relu", (2, 4, 7, 7), (5, 4, 3, 3), padding=1),
    case("relu-empty-batch", (0, 3, 6, 7), (4, 3, 3, 3)),
    case("relu-no-input-channels", (2, 0, 5, 4), (3, 0, 3, 3), padding=1),
    case("relu-one-output-channel", (2, 5, 6, 7), (1, 5, 3, 3), stride=(1, 2)),
    case("relu-groups", (2, 6, 7, 6), (4, 3, 3, 2), stride=2, padding=1, groups=2),
    case("relu-depthwise", (2, 5, 8, 7), (5, 1, 3, 3), padding=1, groups=5),
    case("relu-1x1", (3, 7, 5, 6), (9, 7, 1, 1)),
    case("relu-1x1-many-pixels", (2, 6, 15, 19), (4, 3, 1, 1), groups=2),
    case("relu-1x1-strided", (2, 3, 33, 31), (5, 3, 1, 1), stride=2),
    case("relu-sparse", (1, 2, 23, 5), (3, 2, 2, 2), stride=(9, 1)),
    case("relu-line", (2, 3, 17), (4, 3, 3), stride=2, padding=1),
    case("relu-volume", (2, 3, 4, 5, 6), (4, 3, 3, 2, 3), padding=1),
    case("relu-nhwc", (2, 7, 6, 4), (5, 3, 3, 4), padding=1, layout=NHWC),
    case("relu-nhwc-1x1", (3, 5, 6, 16), (8, 1, 1, 16), layout=NHWC),
    case("relu-nhwc-depthwise", (2, 9, 7, 16), (16, 3, 3, 1), padding=1, groups=16, layout=NHWC),
)
