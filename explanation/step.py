"""One layer of an explained network: what arrived at it, its formulas, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..backend import to_numpy
from ..kernels.explain import Formulas, Index, Shape, Term
from ..layers import Layer, Parameter
from .explain_layer import explain_layer

_SHORT = {"input": "x", "weight": "w", "bias": "b"}
"""What formulas call the input and the parameters; other parameters keep their names."""


def short(name: str) -> str:
    return _SHORT.get(name, name)


def own_parameters(layer: Layer) -> dict[str, Parameter]:
    """The parameters by name, without those of the layers in this one."""
    return {name: value for name, value in vars(layer).items() if isinstance(value, Parameter)}


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
    """One layer: its input x, its output y and the gradient dy that arrives there, on this pass.

    of_branches: the dx of the layers in it, by their names.
    """

    name: str
    layer: Layer
    x: Any
    y: Any
    dy: Any
    formulas: Formulas
    gradients: list[Gradient]
    of_branches: dict[str, Any]

    def facts(self) -> list[tuple[str, str]]:
        """Label and text: the shapes of input, kernel, bias and output, and the window's options."""
        parameters = own_parameters(self.layer)
        bias = str(parameters["bias"].data.shape) if "bias" in parameters else "none"
        return [("input", str(self.x.shape)), *self.formulas.facts, ("bias", bias), ("output", str(self.dy.shape))]

    def terms(self, gradient: Gradient, index: Index) -> Terms:
        """Every product that adds up to element `index` of one of the gradients."""
        given = {"x": self.x, "y": self.y, "dy": self.dy} | {
            f"dX of {name}": dx for name, dx in self.of_branches.items()
        }
        given |= {short(name): parameter.data for name, parameter in own_parameters(self.layer).items()}
        arrays = {name: to_numpy(array) for name, array in given.items()}
        geometry = self.layer.geometry(self.x.shape)
        found = explain_layer(self.layer).terms(f"d{short(gradient.of)}", index, geometry, arrays)
        return Terms(gradient.name, index, tuple(found), float(gradient.value[index]))


def formulas(layer: Layer, inputs: Mapping[str, Shape]) -> Formulas:
    """The formulas of `layer` for inputs of these shapes, x and perhaps others."""
    shapes = dict(inputs) | {short(name): p.data.shape for name, p in own_parameters(layer).items()}
    return explain_layer(layer).formulas(layer.geometry(inputs["x"]), shapes)
