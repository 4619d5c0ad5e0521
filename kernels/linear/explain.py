"""A fully connected layer explained: its formulas, and the products of one element of a gradient.

X may have more than two axes, (N, ...): a layer flattens it. Elements of Y and X are named as they lie, [n,o], or [o,n]
with samples as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, term
from .geometry import LinearGeometry

_PARTS = (("X · Wᵀ", "dYᵀ · X", "dY · W", "dY[n,o]"), ("W · X", "dY · Xᵀ", "Wᵀ · dY", "dY[o,n]"))
"""By batch_axis: Y without the bias, dW, dX, and what db sums."""


def _formulas(g: LinearGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    y, dw, dx, summed = _PARTS[g.batch_axis]
    flattened = len(shapes["x"]) > 2
    bias = " + b" if "b" in shapes else ""
    flat = f", X flattened to {g.x_shape}" if flattened else ""
    again = ", in X's shape again" if flattened else ""
    return Formulas(
        "linear",
        f"Y = {y}{bias}{flat}",
        {"dw": f"dW = {dw}{flat}", "dx": f"dX = {dx}{again}", "db": f"db[o] = Σ_n {summed}"},
        (("weight", str(g.w_shape)),),
    )


def _terms(gradient: str, index: Index, g: LinearGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    x, w, dy = arrays["x"], arrays["w"], arrays["dy"]

    def at(n: int, feature: int) -> Index:
        return (n, feature) if g.batch_axis == 0 else (feature, n)

    if gradient == "dx":
        n, f = (index[0], int(np.ravel_multi_index(index[1:], x.shape[1:]))) if x.ndim > 2 else at(*index)
        for o in range(g.O):
            yield term(element("dY", dy, *at(n, o)), element("W", w, o, f))
        return
    if x.ndim > 2:
        rows = x.reshape(g.N, g.F)
        x = rows if g.batch_axis == 0 else rows.T
    for n in range(g.N):
        arriving = element("dY", dy, *at(n, index[0]))
        yield term(arriving) if gradient == "db" else term(arriving, element("X", x, *at(n, index[1])))


EXPLAIN = {"linear": Explain(_formulas, _terms)}
