"""Normalisation explained: the formulas, and the terms of one element of a gradient, by the output's derivative."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, term
from .geometry import BatchNormGeometry, RowNormGeometry


def _formulas(kind: str, shared: str, shapes: Mapping[str, Shape], activated: bool = False) -> Formulas:
    """shared: what the elements that share a mean μ and a variance σ² are called."""
    w, b = ("w ", " + b") if "w" in shapes else ("", "")
    b += " + residual" if "residual" in shapes else ""
    y = f"{w}Z{b}, Z = (X - μ)/√(σ² + ε), μ and σ² over {shared}"
    dz, arriving = ("G", "G, G = dY where Y > 0, else 0") if activated else ("dY", "dY")
    return Formulas(
        kind,
        f"Y = max({w}Z{b}, 0){y.removeprefix(f'{w}Z{b}')}" if activated else f"Y = {y}",
        {
            "dw": f"dw = Σ {dz} Z",
            "db": f"db = Σ {arriving}",
            "dx": f"dX = ({w}{dz} - mean of {w}{dz} - Z · mean of {w}{dz} Z)/√(σ² + ε), means over {shared}",
        },
    )


def _batch_formulas(g: BatchNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("batchnorm", f"a channel's {g.count} elements", shapes, g.activation is not None)


def _group_formulas(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("groupnorm", f"a group's {g.count} elements", shapes)


def _layer_formulas(g: RowNormGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    return _formulas("layernorm", f"a sample's {g.count} elements", shapes)


def _groups(g: BatchNormGeometry | RowNormGeometry) -> Any:
    """For every element of x the number of those that share its statistics, and its channel."""
    if isinstance(g, BatchNormGeometry):
        of_channel = np.broadcast_to(np.arange(g.C)[:, np.newaxis], (g.N, g.C, g.plane)).reshape(g.x_shape)
        return of_channel, of_channel
    whole = (g.N, g.num_groups, g.channels, g.plane)
    row = np.arange(g.N * g.num_groups).reshape(g.N, g.num_groups, 1, 1)
    channel = np.arange(g.C).reshape(1, g.num_groups, g.channels, 1)
    return tuple(np.broadcast_to(each, whole).reshape(g.x_shape) for each in (row, channel))


def _terms(
    gradient: str, index: Index, g: BatchNormGeometry | RowNormGeometry, arrays: Mapping[str, Any]
) -> Iterator[Term]:
    x, dy = arrays["x"], arrays["dy"]
    group, channel = _groups(g)
    if gradient == "dx":
        members = np.argwhere(group == group[index])
    else:
        members = np.argwhere(channel == int(np.ravel_multi_index(index, arrays[gradient[1:]].shape)))
    z, inverse = _normalised(x, group, g.eps)
    weight = arrays["w"].ravel() if "w" in arrays else np.ones(g.C)
    activated = isinstance(g, BatchNormGeometry) and g.activation is not None
    for each in map(tuple, members.tolist()):
        if activated and arrays["y"][each] == 0:
            continue
        arriving = element("dY", dy, *each)
        if gradient == "db":
            yield term(arriving)
        elif gradient == "dw":
            yield term(arriving, (f"Z[{','.join(map(str, each))}]", float(z[each])))
        else:
            reached = (each == index) - (1 + z[each] * z[index]) / len(members)
            yield term(arriving, ("dY/dX", float(weight[channel[each]] * inverse[index] * reached)))


def _normalised(x: Any, group: Any, eps: float) -> tuple[Any, Any]:
    """Z, and 1/√(σ² + ε), of every element."""
    z, inverse = np.empty(x.shape), np.empty(x.shape)
    for number in np.unique(group):
        values = x[group == number]
        mean = math.fsum(values) / values.size
        deviation = math.sqrt(math.fsum((values - mean) ** 2) / values.size + eps)
        z[group == number], inverse[group == number] = (values - mean) / deviation, 1 / deviation
    return z, inverse


EXPLAIN = {
    "batch_norm": Explain(_batch_formulas, _terms),
    "group_norm": Explain(_group_formulas, _terms),
    "layer_norm": Explain(_layer_formulas, _terms),
}
