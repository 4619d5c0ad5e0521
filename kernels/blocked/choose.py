"""Which algorithm computes a convolution: the whole rule, by shapes, strides and the float32 precision alone.

1. One channel per group (depthwise): at stride 1 along W and with planes that keep their width, products along H and
   a sum of shifted rows; other small planes as products with banded matrices; else multiply-adds tap by tap.
2. 3x3 or 5x5 at stride 1 with enough channels, in float32: Winograd, with the tile that takes the fewest products.
3. dx with few channels or a large window: col2im, unless gathering dy takes little; its product has C*R*S rows where
   the other form has only C.
4. Where kernel rows overlap, and lines of pixels are long beside the weights: gathered rows.
5. Otherwise im2col; for a 1x1 window the columns are the input itself, so this is a plain matrix product.
In 4 and 5, dx of a strided convolution is one correlation per residue class.
"""

from __future__ import annotations

import numpy as np

from ...precision import get_float32_precision
from .correlation import WIDE, Correlation

FEW_CHANNELS = 8  # rows: fewer than a product needs
LARGE_WINDOW = 25  # taps
BAND_DEPTH = 192  # products per result: with more, too many of them are with 0
BAND_IMAGES = 4  # rows of a product
ROW_WEIGHTS = 1 << 18  # they are rearranged for every output row
FEW_WEIGHTS = 1 << 10  # with lines of any length
WINOGRAD_TILES = {3: (2, 4), 5: (2,)}  # by kernel size
WINOGRAD_CHANNELS = 16  # with fewer, transforming takes longer than the products saved
WINOGRAD_EXTENT = 4  # in tiles that are mostly padding, what cancels is large beside the result
WINOGRAD_WEIGHTS = 64  # transforming the weights takes as long as the products of this many tiles


def is_depthwise(g: Correlation) -> bool:
    return g.C == 1 < g.G


def shifts_suit(g: Correlation, *arrays: np.ndarray) -> bool:
    """Depthwise as products along H and a sum of shifted rows: planes that keep their width, read in place."""
    return g.K == 1 and g.stride[1] == 1 and g.Q == g.W and _read_in_place(*arrays)


def _read_in_place(*arrays: np.ndarray) -> bool:
    return all(a.flags.c_contiguous and a.itemsize >= 4 for a in arrays)


def bands_suit(g: Correlation, transposed: bool, *arrays: np.ndarray) -> bool:
    """Depthwise, or its input gradient (transposed), as products with banded matrices: small planes, several images."""
    depth = -(-g.R // g.stride[0]) * g.Q if transposed else g.R * g.W
    return g.K == 1 and g.dilation[0] == 1 and g.N >= BAND_IMAGES and depth <= BAND_DEPTH and _read_in_place(*arrays)


def winograd_tile(c: Correlation, *arrays: np.ndarray) -> int | None:
    """The outputs per tile and axis that Winograd takes fewest products with, or None for im2col.

    arrays: those read in place.
    """
    if c.R != c.S or c.R not in WINOGRAD_TILES or c.G != 1 or c.stride != (1, 1) or min(c.C, c.K) < WINOGRAD_CHANNELS:
        return None
    if min(c.H, c.P) < WINOGRAD_EXTENT * c.dilation[0] or min(c.W, c.Q) < WINOGRAD_EXTENT * c.dilation[1]:
        return None
    if arrays[0].dtype != np.float32 or get_float32_precision() == "ieee":
        return None
    if not all(a.flags.c_contiguous for a in arrays):
        return None
    products: dict[int | None, int] = {None: c.R * c.S * c.N * c.P * c.Q}
    for m in WINOGRAD_TILES[c.R]:
        rows, columns = (d * -(-extent // (m * d)) for extent, d in zip((c.P, c.Q), c.dilation, strict=True))
        products[m] = (m + c.R - 1) ** 2 * (c.N * rows * columns + WINOGRAD_WEIGHTS)
    return min(products, key=products.__getitem__)


def rows_suit(c: Correlation) -> bool:
    """Correlation by gathered rows: kernel rows that overlap, and lines of pixels long enough for the weights."""
    most = ROW_WEIGHTS if c.N * c.Q >= WIDE else FEW_WEIGHTS
    return c.dilation[0] == 1 and c.stride[0] < c.R and c.G * c.K * c.depth <= most


def input_grad_by_col2im(g: Correlation, c: Correlation, dy: np.ndarray) -> bool:
    """c: the correlation that is the alternative (its first residue class)."""
    few_or_large = g.C <= FEW_CHANNELS or g.R * g.S >= LARGE_WINDOW
    gathered, added = c.C * g.S * g.stride[0], c.K * g.R * g.S  # elements for each pixel of dy
    return few_or_large and winograd_tile(c, dy) is None and not (rows_suit(c) and gathered <= 2 * added)
