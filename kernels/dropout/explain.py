"""Dropout explained: its formula, and the one product of an element."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

import numpy as np

from ..explain import Arrays, Explain, Formulas
from ..sums import Factor, Shape, Sum, Sums
from .geometry import DropoutGeometry


def _formulas(g: DropoutGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return Formulas(
        "dropout",
        f"Y = X · M, M = 0 with probability {g.p:g}, else {g.scale:g}",
        {"dx": "dX = dY · M, the same M"},
        (("p", f"{g.p:g}"),),
        recap="A mask drawn at random drops elements; what stays is scaled, so that the mean stays what it was.",
        reasons={"dx": "What was dropped did not reach the output; the rest did, scaled."},
    )


def _sums(g: DropoutGeometry, shapes: Mapping[str, Shape]) -> Sums:
    at = ascii_lowercase[: len(g.x_shape)]
    return {
        "y": (Sum(at, (Factor("x", at), Factor("M", at))),),
        "dx": (Sum(at, (Factor("dy", at), Factor("M", at))),),
    }


def _mask(g: DropoutGeometry, arrays: Arrays) -> dict[str, Any]:
    """M, which is drawn and not kept, as Y shows it; where X is 0, as dX does."""
    kept = np.where(arrays["x"] != 0, arrays["y"], arrays["dx"]) != 0
    return {"M": np.where(kept, g.scale, 0.0)}


EXPLAIN = {"dropout": Explain(_formulas, _sums, _mask)}
