"""The named configurations of pooling that the parity tests and `backstride check` run.

Small enough for a slow emulator, and awkward on purpose: a shape earns its place by a mistake that only it would show.
"""

from __future__ import annotations

from typing import Any

from ..operation import Case


def pool(name: str, x: tuple[int, ...], kernel_size: int | tuple[int, ...], **options: Any) -> Case:
    return Case(name, x, options={"kernel_size": kernel_size, **options})


_POOL = (
    pool("2x2", (2, 3, 8, 6), 2),
    pool("2x2-wide", (1, 2, 5, 39), 2),
    pool("backprop-text", (10, 2, 14, 14), 2, stride=3),
    pool("one-pixel", (1, 1, 1, 1), 1),
    pool("1x1-strided", (2, 3, 5, 4), 1, stride=2),
    pool("empty-batch", (0, 3, 6, 6), 2),
    pool("overlapping", (2, 3, 9, 8), 3, stride=1),
    pool("overlapping-padded", (2, 3, 9, 8), 3, stride=2, padding=1),
    pool("stride-over-kernel", (2, 3, 11, 13), 2, stride=(4, 5)),
    pool("rectangular", (2, 3, 7, 12), (3, 2), stride=(1, 3), padding=(1, 0)),
    pool("row-image", (2, 3, 1, 17), (1, 3)),
    pool("column-image", (2, 3, 17, 1), (3, 1), stride=(2, 1)),
    pool("whole-plane", (2, 3, 6, 5), (6, 5)),
    pool("whole-plane-7x7", (2, 35, 7, 7), 7),
    pool("whole-plane-of-whole-words", (2, 3, 14, 16), (14, 16)),
    pool("whole-plane-padded", (2, 3, 7, 6), (9, 6), padding=(1, 0)),
    pool("windows-of-whole-words", (2, 2, 16, 48), (7, 16)),
    pool("windows-of-odd-width", (2, 2, 13, 28), (6, 7), padding=(0, 1)),
    pool("window-over-image", (2, 2, 3, 4), (5, 7), stride=1, padding=(2, 3)),
    pool("16x16-window", (1, 2, 17, 18), 16, stride=1),
    pool("17x16-window", (1, 1, 18, 17), (17, 16), stride=1),
    pool("pad-bottom-only", (2, 3, 6, 7), 3, stride=2, padding=((0, 2), (0, 0))),
    pool("pad-left-only", (2, 3, 6, 7), 3, stride=2, padding=((0, 0), (2, 0))),
    pool("full-padding", (2, 3, 5, 4), 3, stride=1, padding=2),
    pool("ceil", (2, 3, 7, 8), 3, stride=2, ceil_mode=True),
    pool("ceil-padded", (2, 3, 8, 7), 3, stride=2, padding=1, ceil_mode=True),
    pool("ceil-asymmetric", (2, 3, 8, 7), 3, stride=3, padding=((0, 1), (2, 0)), ceil_mode=True),
    pool("ceil-drops-last", (1, 3, 2, 2), 3, stride=3, padding=1, ceil_mode=True),
    pool("ceil-1x1-drops-last", (1, 1, 2, 2), 1, stride=2, ceil_mode=True),
    pool("ceil-stride-over-kernel", (2, 2, 9, 8), 2, stride=5, ceil_mode=True),
    pool("same-even", (2, 3, 7, 6), (2, 4), stride=1, padding="same"),
    pool("valid", (2, 3, 7, 6), 3, padding="valid"),
    pool("planes-cross-tile", (3, 43, 5, 4), 2, stride=2),
    pool("image-crosses-tile", (1, 1, 9, 131), 3, stride=2, padding=1),
)
"""Pooling, for both kinds."""

MAX_POOL = (
    *_POOL,
    pool("dilated", (2, 3, 9, 8), 3, stride=1, dilation=2),
    pool("dilated-strided-padded", (2, 3, 11, 9), (2, 3), stride=2, padding=(1, 3), dilation=(3, 2)),
    pool("dilated-ceil", (2, 2, 10, 9), 2, stride=3, dilation=3, padding=1, ceil_mode=True),
    pool("window-in-padding", (1, 2, 1, 1), 2, stride=1, padding=1, dilation=2),
    pool("windows-partly-in-padding", (1, 2, 2, 1), 2, stride=1, padding=(3, 4), dilation=(4, 5)),
    pool("256-taps", (1, 1, 17, 17), 16, stride=1, padding=8),
    pool("17x17-window-in-padding", (1, 1, 2, 2), 17, stride=1, padding=30, dilation=3),
)


def adaptive(name: str, x: tuple[int, ...], output_size: int | tuple[int, ...], **options: Any) -> Case:
    return Case(name, x, options={"output_size": output_size, **options})


ADAPTIVE_POOL = (
    adaptive("whole-plane", (2, 3, 7, 7), 1),
    adaptive("even", (2, 3, 8, 6), (4, 3)),
    adaptive("uneven", (2, 3, 7, 10), (3, 4)),
    adaptive("same-size", (2, 3, 5, 4), (5, 4)),
    adaptive("more-windows-than-rows", (2, 3, 3, 5), (7, 8)),
    adaptive("one-pixel", (1, 1, 1, 1), 3),
    adaptive("row-image", (2, 3, 1, 17), (1, 5)),
    adaptive("empty-batch", (0, 3, 6, 6), 2),
    adaptive("wide-windows", (1, 2, 5, 131), (2, 3)),
    adaptive("planes-cross-block", (3, 43, 5, 4), (2, 3)),
)
"""Pooling to a given size."""

AVG_POOL = (
    *_POOL,
    pool("exclude-padding", (2, 3, 6, 7), 3, stride=2, padding=1, count_include_pad=False),
    pool("exclude-asymmetric", (2, 3, 6, 7), 3, padding=((0, 2), (1, 0)), count_include_pad=False),
    pool("exclude-ceil", (2, 3, 8, 7), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    pool("divisor", (2, 3, 6, 7), 2, stride=1, divisor_override=3),
    pool("negative-divisor", (2, 3, 6, 7), (2, 3), padding=1, divisor_override=-2),
    pool("divisor-ceil", (2, 3, 8, 7), 3, stride=2, padding=1, ceil_mode=True, divisor_override=7),
)
