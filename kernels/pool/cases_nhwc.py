"""Configurations of pooling with channels last, along one, two and three axes."""

from __future__ import annotations

from functools import partial

from ..layout import NHWC
from . import cases

pool, adaptive = partial(cases.pool, layout=NHWC), partial(cases.adaptive, layout=NHWC)
"""x is (N, H, W, C)."""

_POOL = (
    pool("nhwc-2x2", (2, 8, 6, 3), 2),
    pool("nhwc-whole-words", (2, 9, 6, 16), 3, stride=2, padding=1),
    pool("nhwc-one-pixel", (1, 1, 1, 1), 1),
    pool("nhwc-one-channel", (2, 7, 8, 1), 3, stride=2, padding=1),
    pool("nhwc-empty-batch", (0, 6, 6, 3), 2),
    pool("nhwc-no-channels", (2, 6, 6, 0), 2),
    pool("nhwc-rectangular", (2, 7, 12, 3), (3, 2), stride=(1, 3), padding=(1, 0)),
    pool("nhwc-stride-over-kernel", (2, 11, 13, 5), 2, stride=(4, 5)),
    pool("nhwc-whole-plane", (2, 6, 5, 7), (6, 5)),
    pool("nhwc-window-over-image", (2, 3, 4, 2), (5, 7), stride=1, padding=(2, 3)),
    pool("nhwc-17x16-window", (1, 18, 17, 16), (17, 16), stride=1),
    pool("nhwc-pad-one-side", (2, 6, 7, 3), 3, stride=2, padding=((0, 2), (2, 0))),
    pool("nhwc-ceil", (2, 8, 7, 3), 3, stride=2, padding=1, ceil_mode=True),
    pool("nhwc-channels-cross-block", (2, 5, 4, 67), 2, stride=1),
    pool("nhwc-line", (2, 19, 3), 3, stride=2, padding=1),
    pool("nhwc-volume", (2, 4, 5, 6, 3), (2, 3, 2), stride=(2, 1, 2), padding=(1, 1, 0)),
)

MAX_POOL = (
    *_POOL,
    pool("nhwc-dilated", (2, 11, 9, 3), (2, 3), stride=2, padding=(1, 3), dilation=(3, 2)),
    pool("nhwc-window-in-padding", (1, 1, 1, 2), 2, stride=1, padding=1, dilation=2),
)

AVG_POOL = (
    *_POOL,
    pool("nhwc-exclude-asymmetric", (2, 6, 7, 3), 3, padding=((0, 2), (1, 0)), count_include_pad=False),
    pool("nhwc-negative-divisor", (2, 6, 7, 3), (2, 3), padding=1, divisor_override=-2),
)

ADAPTIVE_POOL = (
    adaptive("nhwc-whole-plane", (2, 7, 7, 3), 1),
    adaptive("nhwc-uneven", (2, 7, 10, 3), (3, 4)),
    adaptive("nhwc-more-windows-than-rows", (2, 3, 5, 4), (7, 8)),
    adaptive("nhwc-empty-batch", (0, 6, 6, 3), 2),
    adaptive("nhwc-no-channels", (2, 6, 6, 0), 2),
    adaptive("nhwc-line", (2, 11, 3), 4),
    adaptive("nhwc-volume", (2, 4, 5, 6, 3), (2, 3, 4)),
)
