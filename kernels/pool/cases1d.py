"""Configurations of pooling along one axis; those of two axes are in cases.py."""

from __future__ import annotations

from .cases import adaptive, pool

_POOL = (
    pool("line", (2, 3, 12), 2),
    pool("line-one-element", (1, 1, 1), 1),
    pool("line-overlapping-padded", (2, 3, 19), 3, stride=2, padding=1),
    pool("line-stride-over-kernel", (2, 3, 21), 2, stride=5),
    pool("line-whole", (2, 3, 70), 70),
    pool("line-window-over-image", (2, 2, 4), 7, stride=1, padding=3),
    pool("line-huge-window", (1, 2, 301), 260, stride=7),
    pool("line-pad-right-only", (2, 3, 10), 3, stride=2, padding=((0, 2),)),
    pool("line-ceil", (2, 3, 10), 3, stride=2, padding=((1, 0),), ceil_mode=True),
    pool("line-empty-batch", (0, 3, 6), 2),
)

MAX_POOL = (
    *_POOL,
    pool("line-dilated", (2, 3, 17), 3, stride=2, padding=((3, 1),), dilation=3),
    pool("line-window-in-padding", (1, 2, 1), 2, stride=1, padding=1, dilation=2),
)

AVG_POOL = (
    *_POOL,
    pool("line-exclude-padding", (2, 3, 9), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    pool("line-divisor", (2, 3, 9), 2, divisor_override=3),
)

ADAPTIVE_POOL = (
    adaptive("line", (2, 3, 17), 5),
    adaptive("line-more-windows-than-elements", (2, 3, 3), 7),
    adaptive("line-empty-batch", (0, 3, 6), 2),
)
