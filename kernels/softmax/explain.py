"""Softmax explained: its formula, and the terms of one element of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..explain import Explain, Formulas, Index, Shape, Term, element, term
from .geometry import SoftmaxGeometry


def _formulas(g: SoftmaxGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    gradient = f"dX = Y · (dY - Σ dY · Y along axis {g.axis})"
    return Formulas("softmax", f"Y = exp(X) / Σ exp(X) along axis {g.axis}", {"dx": gradient})


def _terms(gradient: str, index: Index, g: SoftmaxGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    """dX[k] = Σ_j dY[j] Y[k] (1 where j is k, minus Y[j])."""
    x, place = arrays["x"], index[g.axis]

    def at(j: int) -> Index:
        return (*index[: g.axis], j, *index[g.axis + 1 :])

    row = [float(x[at(j)]) for j in range(g.length)]
    total = math.fsum(math.exp(value - max(row)) for value in row)
    y = [math.exp(value - max(row)) / total for value in row]
    for j in range(g.length):
        yield term(element("dY", arrays["dy"], *at(j)), ("∂Y/∂X", y[place] * ((j == place) - y[j])))


EXPLAIN = {"softmax": Explain(_formulas, _terms)}
