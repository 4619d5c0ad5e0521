"""Resizing explained: its formulas, and what adds up to an element."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from ..explain import Arrays, Explain, Formulas
from ..sums import Factor, Shape, Sum, Sums, Table
from .geometry import ResizeGeometry


def _formulas(g: ResizeGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    places = [_place(name, extent, size, g) for name, extent, size in zip("pq", g.extents, g.size, strict=True)]
    taken = "X[n,c,⌊h⌋,⌊w⌋]" if g.mode == "nearest" else "X[n,c,h,w], mixed of the four pixels around"
    gradient = "Σ dY[n,c,p,q]" + (
        " over the p,q that are taken from h,w"
        if g.mode == "nearest"
        else " · u[h,p] · v[w,q], the shares of row h in row p and of column w in column q"
    )
    return Formulas(
        "upsample",
        f"Y[n,c,p,q] = {taken}, h = {places[0]}, w = {places[1]}",
        {"dx": f"dX[n,c,h,w] = {gradient}"},
        recap=f"The {g.extents} pixels of a channel are spread over {g.size}.",
        reasons={"dx": "A pixel gets back dY of every pixel that it has a share in, times the share."},
    )


def _place(name: str, extent: int, size: int, g: ResizeGeometry) -> str:
    if g.mode == "nearest":
        return f"{extent}{name}/{size}"
    return f"{extent - 1}{name}/{max(1, size - 1)}" if g.align_corners else f"max(0, {extent}({name}+½)/{size} - ½)"


def _shares(extent: int, size: int, g: ResizeGeometry) -> Any:
    """How much of each position is in each position of the result, exact fractions: [position, of the result]."""
    shares = np.full((extent, size), Fraction(0))
    for i, p in np.ndindex(extent, size):
        if g.mode == "nearest":
            shares[i, p] = Fraction(int(floor(Fraction(p * extent, size)) == i))
            continue
        at = Fraction(p * (extent - 1), max(1, size - 1))
        if not g.align_corners:
            at = max(Fraction(0), Fraction(extent * (2 * p + 1), 2 * size) - Fraction(1, 2))
        shares[i, p] = max(Fraction(0), 1 - abs(min(at, Fraction(extent - 1)) - i))
    return shares


def _sums(g: ResizeGeometry, shapes: Mapping[str, Shape]) -> Sums:
    of_rows, of_columns = (np.argwhere(shares > 0).tolist() for shares in _of_axes(g))
    relations = (Table("hp", tuple(map(tuple, of_rows))), Table("wq", tuple(map(tuple, of_columns))))
    shares = () if g.mode == "nearest" else (Factor("u", "hp"), Factor("v", "wq"))
    return {
        "y": (Sum("ncpq", (Factor("x", "nchw"), *shares), relations),),
        "dx": (Sum("nchw", (Factor("dy", "ncpq"), *shares), relations, nothing="no pixel of Y is taken from it"),),
    }


def _made(g: ResizeGeometry, arrays: Arrays) -> dict[str, Any]:
    u, v = (shares.astype(float) for shares in _of_axes(g))
    return {"u": u, "v": v}


def _of_axes(g: ResizeGeometry) -> list[Any]:
    return [_shares(extent, size, g) for extent, size in zip(g.extents, g.size, strict=True)]


EXPLAIN = {"upsample": Explain(_formulas, _sums, _made)}
