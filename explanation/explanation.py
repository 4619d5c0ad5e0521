"""`explain`: one pass forward and backward through a network, described and measured layer by layer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .._files import FilePath, save
from ..backend import asarray, get_array_module, to_numpy
from ..kernels import checks
from ..kernels.dtypes import is_float
from ..kernels.explain import Formulas
from ..kernels.sums import Index, Shape
from ..layers import Layer, Sequential
from .finite_differences import disagreements
from .markdown import document
from .page import page
from .step import Gradient, Step, Terms, Verdict, formulas, own_parameters, short
from .table import table
from .trace import Passed, trace


class Explanation:
    """A network run forward and backward in float64; `measure()` compares each gradient with finite differences.

    L = sum(G * Y) for a random G, so dL/dY = G at the network's output Y. X and G have two decimals, so that the
    terms of a gradient can be followed by hand. The network itself is not changed: this works on a copy.
    """

    def __init__(self, net: Layer, input_shape: Iterable[int] | None = None, seed: int = 0, *, x: Any = None) -> None:
        if not isinstance(net, Layer):
            raise TypeError(f"explain: net is a {type(net).__qualname__}; expected a Layer")
        if (input_shape is None) == (x is None):
            raise ValueError("explain: expected either input_shape or x")
        if x is not None:
            get_array_module(x)  # TypeError where it is no array
        shape = x.shape if input_shape is None else input_shape
        self.input_shape = tuple(checks.integer("explain", "input_shape", extent, 0) for extent in shape)
        self.description = repr(net)
        self._rng = np.random.default_rng(seed)
        given = self._random(self.input_shape) if x is None else asarray(to_numpy(x).astype(np.float64))
        passed = trace(_in_float64(net), given, lambda y: self._random(y.shape))
        input_grads = {id(each.layer): each.dx for each in passed}
        shown = [each for each in passed if not isinstance(each.layer, Sequential)]
        written = [formulas(each.layer, _shapes({"x": each.x} | each.others)) for each in shown]
        names = _numbered([each.kind for each in written])
        self.steps = [
            Step(
                name,
                each.layer,
                each.x,
                {name: given for name, given in each.others.items() if given is not None},
                each.y,
                each.dy,
                formula,
                _gradients(name, each, formula),
                _of_branches(each.layer, input_grads),
            )
            for name, each, formula in zip(names, shown, written, strict=True)
        ]

    def _random(self, shape: Shape) -> Any:
        return asarray(self._rng.standard_normal(shape).round(2))

    def measure(self) -> Iterator[Gradient]:
        """Measure the gradients one after another, yielding each when its `disagreement` is known."""
        for step in self.steps:
            found = {gradient.of: gradient for gradient in step.gradients}
            for of, measured in disagreements(step.layer, step.x.shape, self._rng):
                found[of].disagreement, found[of].uncertainty = measured
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
        """Whether no measured gradient disagrees with finite differences; where these cannot tell, it does not."""
        return all(gradient.verdict is not Verdict.DISAGREES for gradient in self.gradients.values())

    def term(self, name: str, index: Iterable[int]) -> Terms:
        """Every product that adds up to element `index` of the gradient `name`, such as "conv.dx".

        Raises ValueError, saying what is possible, for another name or index.
        """
        index = tuple(index)
        if name not in self.gradients:
            possible = ", ".join(f"{g.name} {g.shape}" for g in self.gradients.values())
            raise ValueError(f"there is no gradient {name!r}; there are {possible}")
        gradient = self.gradients[name]
        _check_index(name, index, gradient.shape)
        return next(step for step in self.steps if gradient in step.gradients).terms(gradient, index)

    def to_markdown(self) -> str:
        """The explanation as a document."""
        return document(self.description, self.input_shape, self.steps)

    def to_html(self) -> str:
        """The explanation as one HTML page to click through, which needs no network.

        All its arrays are in it, those of images as far as about a megabyte holds them.
        """
        return page(self.description, self.input_shape, self.steps)

    def save_html(self, path: FilePath) -> None:
        """Write `to_html()` into a file, in one step. OSError where it cannot be written."""
        save(path, self.to_html())

    def _repr_html_(self) -> str:
        return table(self.description, self.input_shape, self.steps)

    def __str__(self) -> str:
        return self.to_markdown()


def explain(net: Layer, input_shape: Iterable[int] | None = None, *, x: Any = None, seed: int = 0) -> Explanation:
    """Run `net` on random input of input_shape, or on the array x, and explain its backpropagation layer by layer.

    net: a layer of any kind. Each layer in it gets its shapes, its formulas with its own numbers in them, and how far
    each gradient is from finite differences in float64. `print` the result for a Markdown document;
    `.term("conv.dx", (0, 1, 4, 6))` lists the products of one element; `.save_html("page.html")` writes a page to click
    through. A layer that holds others and is no Sequential comes after them, with the gradient of its input. Arrays are
    made on the backend in force. Raises TypeError where net is no Layer or x no array, and ValueError where the shape
    does not fit it, or where not just one of input_shape and x is given.

    >>> from backstride import explain
    >>> from backstride.layers import Conv2d, Linear, MaxPool2d, Sequential
    >>> net = Sequential(Conv2d(1, 2, 3, rng=0), MaxPool2d(2), Linear(8, 3, rng=1))
    >>> explanation = explain(net, (1, 1, 7, 7))
    >>> explanation.agrees
    True
    >>> len(explanation.term("conv.dx", (0, 0, 0, 0)).terms)  # one for each filter
    2
    """
    explanation = Explanation(net, input_shape, seed, x=x)
    explanation.measure_all()
    return explanation


def _in_float64(net: Layer) -> Layer:
    duplicate = copy.deepcopy(net)
    duplicate.train()
    for parameter in duplicate.parameters():
        parameter.data = asarray(to_numpy(parameter.data).astype(np.float64))
        parameter.grad, parameter.requires_grad = asarray(np.zeros(parameter.data.shape)), True
    for _, buffer in duplicate.named_buffers():
        if is_float(buffer.data.dtype):
            buffer.data = asarray(to_numpy(buffer.data).astype(np.float64))
    return duplicate


def _shapes(arrays: dict[str, Any]) -> dict[str, Shape]:
    return {name: array.shape for name, array in arrays.items() if array is not None}


def _numbered(kinds: list[str]) -> list[str]:
    """conv, pool, linear ...; numbered from 1 where a kind comes more than once."""
    counts, seen = Counter(kinds), Counter[str]()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(kind if counts[kind] == 1 else f"{kind}{seen[kind]}")
    return names


def _gradients(name: str, passed: Passed, written: Formulas) -> list[Gradient]:
    values = {"input": passed.dx} | {of: parameter.grad for of, parameter in own_parameters(passed.layer).items()}
    by_short = {f"d{short(of)}": of for of, value in values.items() if value is not None}
    return [
        Gradient(f"{name}.{gradient}", by_short[gradient], formula, values[by_short[gradient]])
        for gradient, formula in written.gradients.items()
        if gradient in by_short
    ]


def _of_branches(layer: Layer, input_grads: dict[int, Any]) -> dict[str, Any]:
    """The dx of every layer in this one, by its name, where backward came to it."""
    return {name: input_grads[id(child)] for name, child in layer.children() if id(child) in input_grads}


def _check_index(name: str, index: Index, shape: Shape) -> None:
    if len(index) != len(shape) or not all(0 <= i < extent for i, extent in zip(index, shape, strict=True)):
        first, last = ",".join("0" * len(shape)), ",".join(str(extent - 1) for extent in shape)
        got = ",".join(map(str, index))
        raise ValueError(f"{name} has no element {got}; expected {len(shape)} indices, from {first} to {last}")
