"""Configurations of pooling along three axes; those of two axes are in cases.py."""

from __future__ import annotations

from .cases import adaptive, pool

_POOL = (
    pool("volume", (2, 3, 4, 6, 4), 2),
    pool("volume-one-element", (1, 1, 1, 1, 1), 1),
    pool("volume-overlapping-padded", (2, 2, 5, 6, 7), 3, stride=2, padding=1),
    pool("volume-rectangular", (1, 2, 5, 7, 6), (2, 3, 1), stride=(1, 2, 3), padding=(1, 0, 0)),
    pool("volume-stride-over-kernel", (2, 2, 7, 9, 5), 2, stride=(3, 5, 4)),
    pool("volume-whole", (2, 3, 3, 4, 5), (3, 4, 5)),
    pool("volume-window-over-image", (1, 2, 2, 1, 3), (3, 3, 4), stride=1, padding=(1, 1, 2)),
    pool("volume-huge-window", (1, 1, 8, 7, 7), (7, 6, 7), stride=1),
    pool("volume-pad-one-side", (1, 2, 4, 5, 6), 3, stride=2, padding=((2, 0), (0, 1), (0, 2))),
    pool("volume-ceil", (1, 2, 4, 7, 6), (2, 3, 3), stride=(3, 2, 2), padding=(1, 0, 1), ceil_mode=True),
    pool("volume-empty-batch", (0, 2, 3, 4, 4), 2),
    pool("volume-crosses-tile", (2, 3, 3, 5, 67), (2, 3, 3), stride=(1, 2, 2), padding=1),
)

MAX_POOL = (
    *_POOL,
    pool("volume-dilated", (1, 2, 7, 6, 8), 2, stride=(1, 2, 3), padding=(1, 0, 2), dilation=(2, 3, 2)),
    pool("volume-window-in-padding", (1, 2, 1, 2, 1), 2, stride=1, padding=(1, 0, 2), dilation=(2, 1, 3)),
)

AVG_POOL = (
    *_POOL,
    pool("volume-exclude-padding", (1, 2, 4, 5, 5), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    pool("volume-divisor", (1, 2, 4, 5, 5), (2, 3, 2), padding=1, divisor_override=-3),
)

ADAPTIVE_POOL = (
    adaptive("volume", (2, 3, 5, 7, 6), (2, 3, 4)),
    adaptive("volume-whole", (2, 2, 3, 4, 5), 1),
    adaptive("volume-more-windows-than-planes", (1, 2, 1, 3, 4), (2, 5, 3)),
    adaptive("volume-empty-batch", (0, 2, 3, 3, 3), 2),
)
