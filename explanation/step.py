"""One layer of an explained network: what arrived at it, its formulas, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..backend import to_numpy
from ..kernels.explain import Formulas
from ..kernels.sums import Index, Shape, Sums, Term, terms
from ..layers import Layer, Parameter
from .explain_layer import explain_layer

_SHORT = {"input": "x", "weight": "w", "bias": "b"}
"""What formulas call the input and the parameters; other parameters keep their names."""


def short(name: str) -> str:
    return _SHORT.get(name, name)


def own_parameters(layer: Layer) -> dict[str, Parameter]:
    """The parameters by name, without those of the layers in this one."""
    return {name: value for name, value in vars(layer).items() if isinstance(value, Parameter)}


AGREES = 1e-8
"""The largest disagreement taken for rounding: float64 keeps 16 digits, and a small step costs up to half of them."""
CANNOT_TELL = 1e-4
"""A measurement that may be further off than this says nothing for a gradient that it does not contradict."""
_MARGIN = 10
"""The uncertainty of a measurement is an estimate: so many times it is what is taken for a contradiction."""


class Verdict(str, Enum):
    AGREES = "agrees"
    DISAGREES = "disagrees"
    CANNOT_TELL = "cannot tell"


@dataclass(eq=False)
class Gradient:
    """One gradient of one layer, of "input" or of a parameter.

    disagreement: with finite differences, relative to the 2-norm; uncertainty: how far these may be off themselves,
    where the output hardly changes with what the gradient is of, say. Both are None until they are measured.
    """

    name: str
    of: str
    formula: str
    value: Any
    disagreement: float | None = None
    uncertainty: float | None = None

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def verdict(self) -> Verdict | None:
        """Whether it agrees with finite differences as far as these can tell; None before they are measured."""
        if self.disagreement is None or self.uncertainty is None:
            return None
        if self.uncertainty == math.inf:
            return Verdict.CANNOT_TELL
        if not self.disagreement <= max(AGREES, _MARGIN * self.uncertainty):  # NaN is no agreement
            return Verdict.DISAGREES
        return Verdict.AGREES if self.uncertainty <= CANNOT_TELL else Verdict.CANNOT_TELL

    @property
    def measured(self) -> str:
        """The disagreement as text, with the verdict where that is not that it agrees."""
        if self.disagreement is None:
            return ""
        if self.verdict is Verdict.CANNOT_TELL:
            return f"{self.disagreement:.1e}, cannot tell: differences are off by up to {self.uncertainty:.0e}"
        return f"{self.disagreement:.1e}"


@dataclass(frozen=True)
class Terms:
    """Every term of the element `index` of the gradient `name`, and what the kernel computed for it.

    why_none: where there are no terms, the reason.
    """

    name: str
    index: Index
    terms: tuple[Term, ...]
    computed: float
    why_none: str = ""

    @property
    def total(self) -> float:
        """The sum of the terms, rounded once."""
        return math.fsum(term.value for term in self.terms)


@dataclass(eq=False)
class Step:
    """One layer: its input x, others (inputs beside x, by name), its output y and the gradient dy that arrives there,
    on this pass.

    of_branches: the dx of the layers in it, by their names.
    """

    name: str
    layer: Layer
    x: Any
    others: dict[str, Any]
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

    def sums(self) -> Sums:
        """What adds up to an element of y, where that is known, and of the gradients "dx", "dw" ..."""
        shapes = _shapes_of(
            self.layer, {"x": self.x.shape} | {name: given.shape for name, given in self.others.items()}
        )
        return explain_layer(self.layer).sums(self.layer.geometry(self.x.shape), shapes)

    def arrays(self) -> dict[str, Any]:
        """The NumPy arrays that the sums name."""
        given = {"x": self.x, "y": self.y, "dy": self.dy} | {
            f"dX of {name}": dx for name, dx in self.of_branches.items()
        }
        given |= {short(name): parameter.data for name, parameter in own_parameters(self.layer).items()}
        given |= {f"d{short(gradient.of)}": gradient.value for gradient in self.gradients}
        arrays = {name: to_numpy(array) for name, array in given.items()}
        return arrays | explain_layer(self.layer).made(self.layer.geometry(self.x.shape), arrays)

    def terms(self, gradient: Gradient, index: Index) -> Terms:
        """Every product that adds up to element `index` of one of the gradients."""
        sums, arrays = self.sums().get(f"d{short(gradient.of)}"), self.arrays()
        if sums is None:
            raise NotImplementedError(
                f"{type(self.layer).__name__} is not one of this package's layers: its terms are not known"
            )
        found = tuple(terms(sums, index, arrays))
        why_none = "" if found else sums[0].why_none(index, arrays)
        return Terms(gradient.name, index, found, float(gradient.value[index]), why_none)


def formulas(layer: Layer, inputs: Mapping[str, Shape]) -> Formulas:
    """The formulas of `layer` for inputs of these shapes, x and perhaps others."""
    return explain_layer(layer).formulas(layer.geometry(inputs["x"]), _shapes_of(layer, inputs))


def _shapes_of(layer: Layer, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    return dict(inputs) | {short(name): p.data.shape for name, p in own_parameters(layer).items()}
