"""Which algorithm computes a convolution: the whole rule, by shapes and strides alone.

1. One channel per group (depthwise): at stride 1 along W and with planes that keep their width, products along H and
   a sum of shifted rows; other small planes as products with banded matrices; else multiply-adds tap by tap.
2. dx with few channels or a large window: col2im, unless gathering dy takes little; its product has C*R*S rows where
   the other form has only C.
3. Where kernel rows overlap, and lines of pixels are long beside the weights: gathered rows.
4. Otherwise im2col; for a 1x1 window the columns are the input itself, so this is a plain matrix product.
In 3 and 4, dx of a strided convolution is one correlation per residue class.

All of these read what lies between taps and windows, or multiply with zeros: the plain path computes what is sparse
(is_sparse) and what that would make NaN (is_finite).
"""

from __future__ import annotations

import math

import numpy as np

from ..axis import Windowed
from ..dtypes import accumulation_dtype
from .correlation import WIDE, Correlation

FEW_CHANNELS = 8  # rows: fewer than a product needs
LARGE_WINDOW = 25  # taps
BAND_DEPTH = 192  # products per result: with more, too many of them are with 0
BAND_IMAGES = 4  # rows of a product
ROW_WEIGHTS = 1 << 18  # they are rearranged for every output row
FEW_WEIGHTS = 1 << 10  # with lines of any length
FAR = 4  # taps or windows apart
LONG = 64  # taps for each window


def is_sparse(g: Windowed) -> bool:
    """Whether most of what lies under the windows is read by none of them, or few windows have very many taps."""
    return any(
        axis.stride > FAR * axis.taps or axis.dilation > FAR * axis.windows or axis.taps > LONG * axis.windows
        for axis in g.axes
    )


def is_finite(a: np.ndarray) -> bool:
    """Whether no element is infinite or NaN; of a sum that overflows it is not said either."""
    return math.isfinite(np.add.reduce(a, axis=None, dtype=accumulation_dtype(a.dtype)))


def is_depthwise(g: Correlation) -> bool:
    return g.C == 1 < g.G


def shifts_suit(g: Correlation, *arrays: np.ndarray) -> bool:
    """Depthwise as products along H and a sum of shifted rows: planes that keep their width, read in place."""
    keeps_width = g.Q == g.W and sum(g.padding[1]) == g.axes[1].reach  # of a transposed convolution both may differ
    return g.K == 1 and g.stride[1] == 1 and keeps_width and _read_in_place(*arrays)


def _read_in_place(*arrays: np.ndarray) -> bool:
    return all(a.flags.c_contiguous and a.itemsize >= 4 for a in arrays)


def bands_suit(g: Correlation, transposed: bool, *arrays: np.ndarray) -> bool:
    """Depthwise, or its input gradient (transposed), as products with banded matrices: small planes, several images."""
    depth = -(-g.R // g.stride[0]) * g.Q if transposed else g.R * g.W
    return g.K == 1 and g.dilation[0] == 1 and g.N >= BAND_IMAGES and depth <= BAND_DEPTH and _read_in_place(*arrays)


def rows_suit(c: Correlation) -> bool:
    """Correlation by gathered rows: kernel rows that overlap, and lines of pixels long enough for the weights."""
    most = ROW_WEIGHTS if c.N * c.Q >= WIDE else FEW_WEIGHTS
    return c.dilation[0] == 1 and c.stride[0] < c.R and c.G * c.K * c.depth <= most


def input_grad_by_col2im(g: Correlation, c: Correlation) -> bool:
    """c: the correlation that is the alternative (its first residue class)."""
    few_or_large = g.C <= FEW_CHANNELS or g.R * g.S >= LARGE_WINDOW
    gathered, added = c.C * g.S * g.stride[0], c.K * g.R * g.S  # elements for each pixel of dy
    return few_or_large and not (rows_suit(c) and gathered <= 2 * added)
