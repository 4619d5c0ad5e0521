"""Which algorithm computes a convolution: the whole rule, by shape alone."""

from __future__ import annotations

from ..geometry import Conv2dGeometry

FEW_CHANNELS = 8  # fewer rows than a product needs
LARGE_WINDOW = 25  # taps


def input_grad(g: Conv2dGeometry) -> str:
    """'col2im' or 'classes' (im2col on every residue class of the stride).

    With few input channels or a large window, col2im's product (C*R*S rows) is wide where the other has only C rows.
    """
    few_rows = g.C // g.groups <= FEW_CHANNELS or g.R * g.S >= LARGE_WINDOW
    return "col2im" if few_rows else "classes"
