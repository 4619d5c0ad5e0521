"""`explain`: one pass forward and backward through a network, described and measured layer by layer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import asarray, to_numpy
from ..kernels import checks
from ..layers import Layer, Sequential
from .finite_differences import disagreements
from .formulas import Formulas, Shape, formulas
from .terms import Index, Terms, terms

AGREES = 1e-8
"""The largest disagreement taken for rounding: float64 keeps 16 digits, and a small step costs up to half of them."""


@dataclass
class Gradient:
    """One gradient of one layer. `disagreement` is None until it is measured."""

    name: str
    of: str
    formula: str
    value: Any
    disagreement: float | None = None

    @property
    def shape(self) -> Shape:
        return self.value.shape


@dataclass
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
        labels = {"weight": "kernel" if self.formulas.kind == "conv" else "weight", "bias": "bias"}
        shapes = [(labels.get(name, name), str(p.data.shape)) for name, p in parameters.items() if name != "bias"]
        bias = [("bias", str(parameters["bias"].data.shape) if "bias" in parameters else "none")]
        return [("input", str(self.x.shape)), *shapes, *self.formulas.facts, *bias, ("output", str(self.dy.shape))]


class Explanation:
    """A network run forward and backward in float64; `measure()` compares each gradient with finite differences.

    L = sum(G * Y) for a random G, so dL/dY = G at the network's output Y. X and G have two decimals, so that the
    terms of a gradient can be followed by hand. The network itself is not changed: this works on a copy.
    """

    def __init__(self, net: Sequential, input_shape: Iterable[int], seed: int = 0) -> None:
        if not isinstance(net, Sequential):
            raise TypeError(f"explain: net is a {type(net).__qualname__}; expected a Sequential")
        self.input_shape = tuple(checks.integer("explain", "input_shape", extent, 0) for extent in input_shape)
        self.description = repr(net)
        self._rng = np.random.default_rng(seed)
        layers = list(_leaves(_in_float64(net)))
        names = _names(layers)
        inputs = [self._random(self.input_shape)]
        for layer in layers:
            inputs.append(layer(inputs[-1]))
        dy = self._random(inputs[-1].shape)
        self.steps: list[Step] = []
        for name, layer, x in zip(reversed(names), reversed(layers), reversed(inputs[:-1]), strict=True):
            dx = layer.backward(dy)
            self.steps.insert(0, _step(name, layer, x, dy, dx))
            dy = dx

    def _random(self, shape: Shape) -> Any:
        return asarray(self._rng.standard_normal(shape).round(2))

    def measure(self) -> Iterator[Gradient]:
        """Measure the gradients one after another, yielding each when its `disagreement` is known."""
        for step in self.steps:
            found = {gradient.of: gradient for gradient in step.gradients}
            for of, disagreement in disagreements(copy.deepcopy(step.layer), step.x.shape, self._rng):
                found[of].disagreement = disagreement
                yield found[of]

    def measure_all(self) -> None:
        for _ in self.measure():
            pass

    @property
    def gradients(self) -> dict[str, Gradient]:
        """Every gradient by its name, such as "conv.dw"."""
        return {gradient.name: gradient for step in self.steps for gradient in step.gradients}

    @property
    def agrees(self) -> bool:
        """Whether every measured gradient agrees with finite differences to AGREES."""
        measured = [g.disagreement for g in self.gradients.values() if g.disagreement is not None]
        return all(disagreement <= AGREES for disagreement in measured)

    def term(self, name: str, index: Iterable[int]) -> Terms:
        """Every product that adds up to element `index` of the gradient `name`, such as "conv.dx".

        Raises ValueError, saying what is possible, for another name or index.
        """
        index = tuple(index)
        if name not in self.gradients:
            possible = ", ".join(f"{g.name} {g.shape}" for g in self.gradients.values())
            raise ValueError(f"there is no gradient {name!r}; there are {possible}")
        _check_index(name, index, self.gradients[name].shape)
        step = next(step for step in self.steps if self.gradients[name] in step.gradients)
        gradient = self.gradients[name]
        found = terms(step.layer, gradient.of, index, to_numpy(step.x), to_numpy(step.dy))
        return Terms(name, index, tuple(found), float(gradient.value[index]))

    def to_markdown(self) -> str:
        """The explanation as a document."""
        from .markdown import document

        return document(self)

    def __str__(self) -> str:
        return self.to_markdown()


def explain(net: Sequential, input_shape: Iterable[int], *, seed: int = 0) -> Explanation:
    """Run `net` on random input of input_shape and explain its backpropagation layer by layer.

    Each layer gets its shapes, its formulas with its own numbers in them, and how far each gradient is from finite
    differences in float64. `print` the result for a Markdown document; `.term("conv.dx", (0, 1, 4, 6))` lists the
    products of one element. Arrays are made on the backend in force. Raises TypeError where net is no Sequential, and
    ValueError where the shape does not fit it.
    """
    explanation = Explanation(net, input_shape, seed)
    explanation.measure_all()
    return explanation


def _in_float64(net: Sequential) -> Sequential:
    duplicate = copy.deepcopy(net)
    duplicate.train()
    for parameter in duplicate.parameters():
        parameter.data = asarray(to_numpy(parameter.data).astype(np.float64))
        parameter.grad = asarray(np.zeros(parameter.data.shape))
    return duplicate


def _leaves(layer: Layer) -> Iterator[Layer]:
    if isinstance(layer, Sequential):
        for inner in layer:
            yield from _leaves(inner)
    else:
        yield layer


_KINDS = {"Conv2d": "conv", "MaxPool2d": "pool", "AvgPool2d": "pool"}


def _names(layers: list[Layer]) -> list[str]:
    """conv, pool, linear ...; numbered from 1 where a kind comes more than once."""
    kinds = [_KINDS.get(type(layer).__name__, type(layer).__name__.lower()) for layer in layers]
    counts, seen = Counter(kinds), Counter[str]()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(kind if counts[kind] == 1 else f"{kind}{seen[kind]}")
    return names


_SHORT = {"input": "dx", "weight": "dw", "bias": "db"}


def _step(name: str, layer: Layer, x: Any, dy: Any, dx: Any) -> Step:
    written = formulas(layer, x.shape)
    values = {of: parameter.grad for of, parameter in layer.named_parameters()} | {"input": dx}
    gradients = [
        Gradient(f"{name}.{_SHORT.get(of, 'd' + of)}", of, formula, values[of])
        for of, formula in written.gradients.items()
        if of in values
    ]
    return Step(name, layer, x, dy, written, gradients)


def _check_index(name: str, index: Index, shape: Shape) -> None:
    if len(index) != len(shape) or not all(0 <= i < extent for i, extent in zip(index, shape, strict=True)):
        first, last = ",".join("0" * len(shape)), ",".join(str(extent - 1) for extent in shape)
        got = ",".join(map(str, index))
        raise ValueError(f"{name} has no element {got}; expected {len(shape)} indices, from {first} to {last}")
