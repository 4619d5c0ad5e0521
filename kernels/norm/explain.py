"""Normalisation explained: the formulas, and the products that add up to an element."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..explain import Arrays, Explain, Formulas, activated, arriving, before_activation, passes
from ..layout import in_layout
from ..sums import Factor, Shape, Sum, Sums, Table
from .geometry import BatchNormGeometry, RowNormGeometry


def _formulas(kind: str, shared: str, shapes: Mapping[str, Shape], activation: str | None = None) -> Formulas:
    """shared: what the elements that share a mean μ and a variance σ² are called."""
    w, b = ("W ", " + b") if "w" in shapes else ("", "")
    b += " + residual" if "residual" in shapes else ""
    dz, where = arriving(activation)
    return Formulas(
        kind,
        f"Y = {activated(f'{w}Z{b}', activation)}, Z = (X - μ)/√(σ² + ε), μ and σ² over {shared}",
        {
            "dw": f"dW = Σ {dz} Z",
            "dx": f"dX = ({w}{dz} - mean of {w}{dz} - Z · mean of {w}{dz} Z)/√(σ² + ε), means over {shared}",
            "db": f"db = Σ {dz}{where}",
        },
        recap=f"Over {shared} the mean is taken off and the deviation divided by; then come weight and bias.",
        reasons={
            "dw": "The weight multiplied Z of all elements it is of.",
            "dx": "An element also moved the mean and the deviation of all the others: what dY has of a common shift "
            "and of Z itself is taken out.",
            "db": "The bias was added to all elements it is of.",
        },
    )


def _batch_formulas(g: BatchNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("batchnorm", f"a channel's {g.count} elements", shapes, g.activation)


def _group_formulas(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("groupnorm", f"a group's {g.count} elements", shapes)


def _layer_formulas(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("layernorm", f"a sample's {g.count} elements", shapes)


def _batch_sums(g: BatchNormGeometry, shapes: Mapping[str, Shape]) -> Sums:
    here, others = "xyz"[: len(g.extents)], "XYZ"[: len(g.extents)]
    one, other = ("".join(in_layout(axes, g.channels_last)) for axes in (f"nc{here}", f"Nc{others}"))
    return before_activation(g.activation, _sums(shapes, _Places(one, other, "c", "c", "c"), g.residual))


def _group_sums(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Sums:
    here, others = "xyz"[: len(g.x_shape) - 2], "XYZ"[: len(g.x_shape) - 2]
    of = [range(start, start + g.channels) for start in range(0, g.C, g.channels)]
    group = Table("mg", tuple((c, k) for k, members in enumerate(of) for c in members))
    shared = Table("mkg", tuple((c, other, k) for k, members in enumerate(of) for c in members for other in members))
    return _sums(shapes, _Places(f"nm{here}", f"nk{others}", "m", "k", "ng", (group,), (shared,)))


def _layer_sums(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Sums:
    leading = "nopqrstuvw"[: len(g.statistics_shape)]
    here, others = "abcdefghij"[: len(g.parameter_shape)], "ABCDEFGHIJ"[: len(g.parameter_shape)]
    return _sums(shapes, _Places(f"{leading}{here}", f"{leading}{others}", here, others, leading))


class _Places(NamedTuple):
    """Letters of an element, and of those that share its statistics: in X, in the parameters, in the statistics.

    alone, shared: what holds between the letters of one element and its statistics, and of two.
    """

    here: str
    other: str
    parameter: str
    other_parameter: str
    statistics: str
    alone: tuple[Table, ...] = ()
    shared: tuple[Table, ...] = ()


def _sums(shapes: Mapping[str, Shape], at: _Places, residual: bool = False) -> Sums:
    """dX is an element's own share, less the mean of all shares, less what follows Z of them."""
    scaled = (Factor("w", at.parameter),) if "w" in shapes else ()
    of_other = (Factor("w", at.other_parameter),) if "w" in shapes else ()
    inverse, one = Factor("1/√(σ²+ε)", at.statistics), Factor("1/m", "")
    dy_here, z_here, z_other = Factor("dy", at.here), Factor("Z", at.here), Factor("Z", at.other)
    other = (Factor("dy", at.other), *of_other, inverse, one)
    found: Sums = {
        "dx": (
            Sum(at.here, (dy_here, *scaled, inverse), at.alone),
            Sum(at.here, other, at.shared, sign=-1),
            Sum(at.here, (*other, z_here, z_other), at.shared, sign=-1),
        )
    }
    if "w" in shapes:
        found["dw"] = (Sum(at.parameter, (dy_here, z_here)),)
        if not residual:
            found["y"] = (Sum(at.here, (z_here, *scaled)), Sum(at.here, (Factor("b", at.parameter),)))
    if "b" in shapes:
        found["db"] = (Sum(at.parameter, (dy_here,)),)
    return found


def _made(g: BatchNormGeometry | RowNormGeometry, arrays: Arrays) -> dict[str, Any]:
    """Z, 1/√(σ² + ε) and one over the number of elements that share it; where a ReLU follows, 1 where it lets pass."""
    x = arrays["x"]
    of_channels = isinstance(g, BatchNormGeometry)
    axis = -1 if isinstance(g, BatchNormGeometry) and g.channels_last else 1
    rows = np.moveaxis(x, axis, 0) if of_channels else x
    shape, rows = rows.shape, rows.reshape(-1, g.count) if g.count else np.zeros((g.C, 0))
    centred = rows - np.array([math.fsum(row) / max(1, len(row)) for row in rows]).reshape(-1, 1)
    variance = np.array([math.fsum(row * row) / max(1, len(row)) for row in centred])
    inverse = 1 / np.sqrt(variance + g.eps)
    z = (centred * inverse.reshape(-1, 1)).reshape(shape)
    found = {
        "Z": np.moveaxis(z, 0, axis) if of_channels else z,
        "1/√(σ²+ε)": inverse.reshape(g.statistics_shape),
        "1/m": np.array(1 / max(1, g.count)),
    }
    return found | passes(g, arrays) if isinstance(g, BatchNormGeometry) else found


EXPLAIN = {
    "batch_norm": Explain(_batch_formulas, _batch_sums, _made),
    "group_norm": Explain(_group_formulas, _group_sums, _made),
    "layer_norm": Explain(_layer_formulas, _layer_sums, _made),
}
