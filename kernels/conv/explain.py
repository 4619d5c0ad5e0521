"""Convolution explained: its formulas, and the products of one element of a gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, reads, row_and_column, term, window_facts
from .geometry import ConvGeometry


def _formulas(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    row, column = row_and_column(g)
    group = "" if g.groups == 1 else f", k and c of one of the {g.groups} groups"
    bias = "b[k] + " if "b" in shapes else ""
    groups = () if g.groups == 1 else (("groups", str(g.groups)),)
    return Formulas(
        "conv",
        f"Y[n,k,p,q] = {bias}Σ_c,r,s X[n,c,{row},{column}] · W[k,c,r,s]{group}",
        {
            "dw": f"dW[k,c,r,s] = Σ_n,p,q dY[n,k,p,q] · X[n,c,{row},{column}]{group}",
            "dx": f"dX[n,c,h,w] = Σ_k,r,s dY[n,k,p,q] · W[k,c,r,s] where {row} = h, {column} = w{group}",
            "db": "db[k] = Σ_n,p,q dY[n,k,p,q]",
        },
        (("kernel", str(g.w_shape)), *window_facts(g), *groups),
    )


def _terms(gradient: str, index: Index, g: ConvGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
    rows, columns = reads(g, 0), reads(g, 1)
    if gradient == "db":
        for n, p, q in np.ndindex(g.N, g.P, g.Q):
            yield term(element("dY", dy, n, index[0], p, q))
    elif gradient == "dw":
        k, c, r, s = index
        channel = k // (g.K // g.groups) * (g.C // g.groups) + c
        for n, (p, h), (q, column) in product(range(g.N), rows[r], columns[s]):
            yield term(element("dY", dy, n, k, p, q), element("X", x, n, channel, h, column))
    else:
        n, channel, h, column = index
        group, c = divmod(channel, g.C // g.groups)
        of_group = range(group * (g.K // g.groups), (group + 1) * (g.K // g.groups))
        for k, r, s in product(of_group, range(g.R), range(g.S)):
            for p, q in product(_windows_at(rows[r], h), _windows_at(columns[s], column)):
                yield term(element("dY", dy, n, k, p, q), element("W", w, k, c, r, s))


def _windows_at(read: list[tuple[int, int]], wanted: int) -> list[int]:
    return [window for window, position in read if position == wanted]


EXPLAIN = {"conv": Explain(_formulas, _terms)}
