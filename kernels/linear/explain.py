"""A fully connected layer explained: its formulas, and the products that add up to an element.

X may have more than two axes, (N, ...): a layer flattens it. Elements of Y and X are named as they lie, [n,o], or [o,n]
with samples as columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase

from ..explain import Explain, Formulas, activated, arriving, before_activation, passes
from ..sums import ONLY, Factor, Flat, Shape, Sum, Sums
from .geometry import LinearGeometry

_PARTS = (("X · Wᵀ", "{}ᵀ · X", "{} · W", "{}[n,o]"), ("W · X", "{} · Xᵀ", "Wᵀ · {}", "{}[o,n]"))
"""By batch_axis: Y without the bias, dW, dX, and what db sums, of the gradient that arrives."""


def _formulas(g: LinearGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    dz, where = arriving(g.activation)
    y, dw, dx, summed = (part.format(dz) for part in _PARTS[g.batch_axis])
    flattened = len(shapes["x"]) > 2
    bias = " + b" if "b" in shapes else ""
    flat = f", X flattened to {g.x_shape}" if flattened else ""
    again = ", in X's shape again" if flattened else ""
    return Formulas(
        "linear",
        f"Y = {activated(f'{y}{bias}', g.activation)}{flat}",
        {"dw": f"dW = {dw}{flat}{where}", "dx": f"dX = {dx}{again}", "db": f"db[o] = Σ_n {summed}"},
        (("weight", str(g.w_shape)),),
        recap=f"{f'The input is flattened to {g.x_shape}. ' if flattened else ''}Each of the {g.O} outputs is the sum "
        f"of the {g.F} features of a sample, each times a weight of its own{', and a bias' if bias else ''}.",
        reasons={
            "dw": "A weight met one feature of every sample: its gradient is their sum, each times dY of that sample.",
            "dx": "A feature went into every output: each returns its dY times the weight on the way.",
            "db": "The bias was added for every sample: its gradient is the sum over the batch.",
        },
    )


def _sums(g: LinearGeometry, shapes: Mapping[str, Shape]) -> Sums:
    y, x = ("no", "nf") if g.batch_axis == 0 else ("on", "fn")
    flattened: tuple[Flat, ...] = ()
    if len(shapes["x"]) > 2:
        axes = ascii_uppercase[: len(shapes["x"]) - 1]
        x, flattened = f"n{axes}", (Flat("f", axes, shapes["x"][1:]),)
    found: Sums = {
        "y": (Sum(y, (Factor("x", x), Factor("w", "of")), flattened),),
        "dw": (Sum("of", (Factor("dy", y), Factor("x", x)), flattened),),
        "dx": (Sum(x, (Factor("dy", y), Factor("w", "of")), flattened),),
    }
    if "b" in shapes:
        b = f"o{ONLY * (len(shapes['b']) - 1)}"
        found["y"] += (Sum(y, (Factor("b", b),)),)
        found["db"] = (Sum(b, (Factor("dy", y),)),)
    return before_activation(g.activation, found)


EXPLAIN = {"linear": Explain(_formulas, _sums, passes)}
