"""What explains a layer: the room of the operation that it calls, or for a layer without one the functions here."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase

from ..kernels import OPERATIONS
from ..kernels.explain import Explain, Formulas
from ..kernels.operation import room_module
from ..kernels.sums import Factor, Flat, Shape, Sum, Sums
from ..layers import Add, Concatenate, Flatten, Identity, Layer


def explain_layer(layer: Layer) -> Explain:
    if layer.operation is not None:
        found: Explain = room_module(OPERATIONS[layer.operation].family.room, "explain").EXPLAIN[layer.operation]
        return found
    if isinstance(layer, (Add, Concatenate)):
        return _of_branches(layer)
    return next((known for kind, known in _WITHOUT_ROOM.items() if isinstance(layer, kind)), _of_a_users_own(layer))


def _flatten_formulas(g: None, shapes: Mapping[str, Shape]) -> Formulas:
    return Formulas("flatten", "Y = X, one row per sample", {"dx": "dX = dY, in X's shape again"})


def _flatten_sums(g: None, shapes: Mapping[str, Shape]) -> Sums:
    axes = ascii_uppercase[: len(shapes["x"]) - 1]
    flattened = (Flat("f", axes, shapes["x"][1:]),)
    return {
        "y": (Sum("nf", (Factor("x", f"n{axes}"),), flattened),),
        "dx": (Sum(f"n{axes}", (Factor("dy", "nf"),), flattened),),
    }


def _identity_formulas(g: None, shapes: Mapping[str, Shape]) -> Formulas:
    return Formulas("identity", "Y = X", {"dx": "dX = dY"})


def _identity_sums(g: None, shapes: Mapping[str, Shape]) -> Sums:
    at = ascii_lowercase[: len(shapes["x"])]
    return {"y": (Sum(at, (Factor("x", at),)),), "dx": (Sum(at, (Factor("dy", at),)),)}


_WITHOUT_ROOM: dict[type[Layer], Explain] = {
    Identity: Explain(_identity_formulas, _identity_sums),
    Flatten: Explain(_flatten_formulas, _flatten_sums),
}


def _of_branches(layer: Add | Concatenate) -> Explain:
    """Of branches that take the same X: how what they give is joined, and that their gradients are added."""
    names = [name for name, _ in layer.children()]
    outputs = [f"{name}(X)" if name.isidentifier() else f"branch {name}" for name in names]
    added = " + ".join(f"dX of {name}" for name in names)
    if isinstance(layer, Concatenate):
        forward = f"Y = {', '.join(outputs)}, one behind the other along axis {layer.axis}"
        added += ", each for its part of dY"
    else:
        forward = f"Y = {' + '.join(outputs)}"
        added += ", each for the whole dY"

    def formulas(g: None, shapes: Mapping[str, Shape]) -> Formulas:
        return Formulas(type(layer).__name__.lower(), forward, {"dx": f"dX = {added}"})

    def sums(g: None, shapes: Mapping[str, Shape]) -> Sums:
        at = ascii_lowercase[: len(shapes["x"])]
        return {"dx": tuple(Sum(at, (Factor(f"dX of {name}", at),)) for name in names)}

    return Explain(formulas, sums)


def _of_a_users_own(layer: Layer) -> Explain:
    def formulas(g: None, shapes: Mapping[str, Shape]) -> Formulas:
        gradients = {f"d{name}": "as the layer defines it" for name in shapes}
        facts = tuple((name, str(shape)) for name, shape in shapes.items() if name not in ("x", "b"))
        return Formulas(type(layer).__name__.lower(), f"Y = {layer!r}(X)", gradients, facts)

    return Explain(formulas, lambda g, shapes: {})
