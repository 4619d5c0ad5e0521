"""The named shapes of resizing that the parity tests and `backstride check` run."""

from __future__ import annotations

from ..operation import Case

_SHAPES = (
    ("doubled", (2, 3, 4, 5), (8, 10)),
    ("uneven", (2, 3, 5, 7), (8, 12)),
    ("smaller", (2, 3, 9, 11), (4, 5)),
    ("taller-and-narrower", (1, 2, 3, 10), (7, 4)),
    ("same-size", (2, 3, 5, 4), (5, 4)),
    ("to-one-pixel", (2, 3, 5, 4), (1, 1)),
    ("of-one-pixel", (2, 3, 1, 1), (4, 3)),
    ("row-image", (1, 2, 1, 9), (3, 20)),
    ("planes-cross-block", (3, 17, 4, 3), (5, 7)),
    ("empty-batch", (0, 3, 4, 4), (8, 8)),
)

_KINDS = ("nearest", "nearest", False), ("mixed", "bilinear", False), ("corners", "bilinear", True)

UPSAMPLE = tuple(
    Case(f"{kind}-{name}", x, options={"size": size, "mode": mode, "align_corners": corners})
    for kind, mode, corners in (
        ("nearest", "nearest", False),
        ("mixed", "bilinear", False),
        ("corners", "bilinear", True),
    )
    for name, x, size in _SHAPES
)
