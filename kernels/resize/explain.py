"""Resizing explained: its formulas, and the terms of one element of the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import floor
from typing import Any

from ..explain import Explain, Formulas, Index, Shape, Term, element, term
from .geometry import ResizeGeometry


def _formulas(g: ResizeGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    places = [_place(name, extent, size, g) for name, extent, size in zip("pq", g.extents, g.size, strict=True)]
    taken = "X[n,c,⌊h⌋,⌊w⌋]" if g.mode == "nearest" else "X[n,c,h,w], mixed of the four pixels around"
    return Formulas(
        "upsample",
        f"Y[n,c,p,q] = {taken}, h = {places[0]}, w = {places[1]}",
        {"dx": "dX[n,c,h,w] = Σ dY[n,c,p,q] · what h,w has a share of in Y[n,c,p,q]"},
    )


def _place(name: str, extent: int, size: int, g: ResizeGeometry) -> str:
    if g.mode == "nearest":
        return f"{extent}{name}/{size}"
    return f"{extent - 1}{name}/{max(1, size - 1)}" if g.align_corners else f"max(0, {extent}({name}+½)/{size} - ½)"


def _shares(i: int, extent: int, size: int, g: ResizeGeometry) -> Iterator[tuple[int, Fraction]]:
    """The positions of the result in which position i has a share, and the share."""
    for p in range(size):
        if g.mode == "nearest":
            if floor(Fraction(p * extent, size)) == i:
                yield p, Fraction(1)
            continue
        at = Fraction(p * (extent - 1), max(1, size - 1))
        if not g.align_corners:
            at = max(Fraction(0), Fraction(extent * (2 * p + 1), 2 * size) - Fraction(1, 2))
        share = 1 - abs(min(at, Fraction(extent - 1)) - i)
        if share > 0:
            yield p, share


def _terms(gradient: str, index: Index, g: ResizeGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, h, w = index
    for p, of_row in _shares(h, g.extents[0], g.size[0], g):
        for q, of_column in _shares(w, g.extents[1], g.size[1], g):
            share = of_row * of_column
            yield term(element("dY", arrays["dy"], n, c, p, q), (str(share), float(share)))


EXPLAIN = {"upsample": Explain(_formulas, _terms)}
