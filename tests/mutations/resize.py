"""Faults planted in the kernels of resizing."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels

from .planted import NAN, OUTSIDE, WRONG, Planted, integers, shown

RESIZE = {
    "missing bound of y": ("upsample", "if (index >= params.size) return;", "", "out-of-bounds"),
    "rows past the last": ("upsample", "min(before + 1, (int)axis.extent.divisor - 1)", "before + 1", "out-of-bounds"),
    "positions before the first": (
        "upsample",
        "max(0, axis.step * p",
        "max(-99, axis.step * p",
        OUTSIDE,
    ),
    "shares change places": ("upsample", "mul_rn(after, source.share)", "mul_rn(after, source.rest)", WRONG),
    "0 times an infinity": ("upsample", "source.share == 0 ? before :", "false ? before :", NAN),
    "what lies behind forgotten": ("upsample_grad", "first_at(h + 1, params.rows)", "first_at(h, params.rows)", WRONG),
    "what lies before forgotten": ("upsample_grad", "first_at(w - LINEAR,", "first_at(w,", WRONG),
    "the last position twice": ("upsample_grad", "min(size, quotient", "max(0, quotient", f"out-of-bounds|{WRONG}"),
}


def evidence_of_resizing(cupy: ModuleType) -> str:
    """What images of twice and four times the pixels, whose shares are exact, and their gradient show."""
    x, dy = integers(2, 3, 4, 7), integers(2, 3, 8, 28)
    x[0, 0, 1, 1] = np.inf  # beside positions in which it has no share
    forward = shown(cupy, lambda x: kernels.upsample(x, (8, 28), "bilinear"), x)
    return forward or shown(cupy, lambda dy: kernels.upsample_grad(dy, x.shape, "bilinear"), dy)


PLANTED = {
    "resizing": Planted(RESIZE, evidence_of_resizing),
}
