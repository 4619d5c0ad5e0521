"""One layer of an explained network: what arrived at it, its formulas, and its gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..backend import to_numpy
from ..kernels.explain import Formulas, Index, Shape, Term
from ..layers import Layer
from .explain_layer import explain_layer

_SHORT = {"input": "x", "weight": "w", "bias": "b"}
"""What formulas call the input and the parameters; other parameters keep their names."""


def short(name: str) -> str:
    return _SHORT.get(name, name)


@dataclass(eq=False)
class Gradient:
    """One gradient of one layer, of "input" or of a parameter. `disagreement` is None until it is measured."""

    name: str
    of: str
    formula: str
    value: Any
    disagreement: float | None = None

    @property
    def shape(self) -> Shape:
        return self.value.shape


@dataclass(frozen=True)
class Terms:
    """Every term of the element `index` of the gradient `name`, and what the kernel computed for it."""

    name: str
    index: Index
    terms: tuple[Term, ...]
    computed: float

    @property
    def total(self) -> float:
        """The sum of the terms, rounded once."""
        return math.fsum(term.value for term in self.terms)


@dataclass(eq=False)
class Step:
    """One layer: its input x and the gradient dy that arrives at its output, on this pass."""

    name: str
    layer: Layer
    x: Any
    dy: Any
    formulas: Formulas
    gradients: list[Gradient]

    def facts(self) -> list[tuple[str, str]]:
        """Label and text: the shapes of input, kernel, bias and output, and the window's options."""
        parameters = dict(self.layer.named_parameters())
        bias = str(parameters["bias"].data.shape) if "bias" in parameters else "none"
        return [("input", str(self.x.shape)), *self.formulas.facts, ("bias", bias), ("output", str(self.dy.shape))]

    def terms(self, gradient: Gradient, index: Index) -> Terms:
        """Every product that adds up to element `index` of one of the gradients."""
        parameters = {short(name): to_numpy(p.data) for name, p in self.layer.named_parameters()}
        arrays = {"x": to_numpy(self.x), **parameters, "dy": to_numpy(self.dy)}
        geometry = self.layer.geometry(self.x.shape)
        found = explain_layer(self.layer).terms(f"d{short(gradient.of)}", index, geometry, arrays)
        return Terms(gradient.name, index, tuple(found), float(gradient.value[index]))


def formulas(layer: Layer, x_shape: Shape) -> Formulas:
    """The formulas of `layer` for an input of x_shape."""
    shapes = {"x": x_shape} | {short(name): p.data.shape for name, p in layer.named_parameters()}
    return explain_layer(layer).formulas(layer.geometry(x_shape), shapes)
