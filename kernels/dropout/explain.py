"""Dropout explained by its formula."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..explain import Explain, Formulas, Index, Shape, Term
from .geometry import DropoutGeometry


def _formulas(g: DropoutGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return Formulas(
        "dropout",
        f"Y = X · M, M = 0 with probability {g.p:g}, else {g.scale:g}",
        {"dx": "dX = dY · M, the same M"},
        (("p", f"{g.p:g}"),),
    )


def _terms(gradient: str, index: Index, g: DropoutGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    raise NotImplementedError("Dropout draws its mask M anew at each call: its terms are not known")


EXPLAIN = {"dropout": Explain(_formulas, _terms)}
