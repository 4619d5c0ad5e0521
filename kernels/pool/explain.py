"""Max and average pooling explained: their formulas, and the terms of one element of the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, reads, row_and_column, term, window_facts
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry


def _max_formulas(g: PoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    row, column = row_and_column(g)
    return Formulas(
        "pool",
        f"Y[n,c,p,q] = max_r,s X[n,c,{row},{column}]",
        {"dx": "dX[n,c,h,w] = Σ dY[n,c,p,q] over the windows p,q whose maximum stood at h,w"},
        (("kernel", str((g.R, g.S))), *window_facts(g)),
    )


def _avg_formulas(g: AvgPoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    row, column = row_and_column(g)
    return Formulas(
        "pool",
        f"Y[n,c,p,q] = 1/D[p,q] · Σ_r,s X[n,c,{row},{column}], D the divisor",
        {"dx": "dX[n,c,h,w] = Σ dY[n,c,p,q] / D[p,q] over the windows p,q that cover h,w"},
        (("kernel", str((g.R, g.S))), *window_facts(g)),
    )


def _adaptive_formulas(g: AdaptivePoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    (h, w), (p, q) = g.extents, g.windows
    return Formulas(
        "pool",
        f"Y[n,c,p,q] = mean of X[n,c,⌊{h}p/{p}⌋..⌈{h}(p+1)/{p}⌉-1,⌊{w}q/{q}⌋..⌈{w}(q+1)/{q}⌉-1]",
        {"dx": "dX[n,c,h,w] = Σ dY[n,c,p,q] / the window's size over the windows p,q that cover h,w"},
    )


def _max_terms(gradient: str, index: Index, g: PoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, h, w = index
    for p, q, positions in _windows(g):
        if (h, w) in positions and _maximum(arrays["x"][n, c], positions) == (h, w):
            yield term(element("dY", arrays["dy"], n, c, p, q))


def _avg_terms(gradient: str, index: Index, g: AvgPoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, h, w = index
    for p, q, positions in _windows(g):
        if (h, w) in positions:
            divisor = _divisor(g, p, q, len(positions))
            yield term(element("dY", arrays["dy"], n, c, p, q), (f"1/{divisor}", 1 / divisor))


def _adaptive_terms(gradient: str, index: Index, g: AdaptivePoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, h, w = index
    (height, width), (rows, columns) = g.extents, g.windows
    for p, q in np.ndindex(rows, columns):
        of_p = [i for i in range(height) if i * rows < (p + 1) * height and (i + 1) * rows > p * height]
        of_q = [j for j in range(width) if j * columns < (q + 1) * width and (j + 1) * columns > q * width]
        if h in of_p and w in of_q:
            size = len(of_p) * len(of_q)
            yield term(element("dY", arrays["dy"], n, c, p, q), (f"1/{size}", 1 / size))


def _windows(g: PoolGeometry) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Every window p, q with the positions (h, w) of its taps on the input, in row-major order."""
    rows, columns = reads(g, 0), reads(g, 1)
    for p, q in np.ndindex(g.P, g.Q):
        of_p = [h for read in rows for window, h in read if window == p]
        of_q = [w for read in columns for window, w in read if window == q]
        yield p, q, list(product(of_p, of_q))


def _maximum(plane: Any, positions: list[tuple[int, int]]) -> tuple[int, int]:
    """Where the window's maximum stands: the first of equals, but the last NaN."""
    best = positions[0]
    for position in positions[1:]:
        if plane[position] > plane[best] or np.isnan(plane[position]):
            best = position
    return best


def _divisor(g: AvgPoolGeometry, p: int, q: int, on_input: int) -> int:
    """The override, or how many taps lie on the padded input, or on the input itself."""
    if g.divisor_override is not None:
        return g.divisor_override
    if not g.count_include_pad:
        return on_input
    (_, bottom), (_, right) = g.padding
    top, left = p * g.stride[0] - g.padding[0][0], q * g.stride[1] - g.padding[1][0]
    return sum(h < g.H + bottom for h in range(top, top + g.R)) * sum(w < g.W + right for w in range(left, left + g.S))


EXPLAIN = {
    "adaptive_avg_pool": Explain(_adaptive_formulas, _adaptive_terms),
    "max_pool": Explain(_max_formulas, _max_terms),
    "avg_pool": Explain(_avg_formulas, _avg_terms),
}
