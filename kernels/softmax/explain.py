"""Softmax explained: its formula, and what adds up to an element."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase

from ..explain import Explain, Formulas
from ..sums import Factor, Shape, Sum, Sums
from .geometry import SoftmaxGeometry

_RECAP = "Every row becomes numbers from 0 to 1 whose sum is 1."
_REASONS = {"dx": "A larger X lifts its own Y and presses down the others of its row, each by its share."}


def _formulas(g: SoftmaxGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    gradient = f"dX = Y · (dY - Σ dY · Y along axis {g.axis})"
    return Formulas(
        "softmax", f"Y = exp(X) / Σ exp(X) along axis {g.axis}", {"dx": gradient}, recap=_RECAP, reasons=_REASONS
    )


def _sums(g: SoftmaxGeometry, shapes: Mapping[str, Shape]) -> Sums:
    """dX[k] = Y[k] dY[k] - Σ_j Y[k] Y[j] dY[j]."""
    k = ascii_lowercase[: len(g.x_shape)]
    j = f"{k[: g.axis]}J{k[g.axis + 1 :]}"
    return {
        "dx": (
            Sum(k, (Factor("y", k), Factor("dy", k))),
            Sum(k, (Factor("y", k), Factor("y", j), Factor("dy", j)), sign=-1),
        )
    }


EXPLAIN = {"softmax": Explain(_formulas, _sums)}
