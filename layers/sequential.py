"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .activation import ReLU
from .base import Layer
from .pool2d import MaxPool2d


class Sequential(Layer):
    """The layers in order; parameters are named "0.weight", "0.bias", "2.weight" ... by their layer's place.

    Where max pooling follows a ReLU it is called first, and the ReLU gets the smaller array: results and gradients are
    the same to the bit.

    Every layer must be an object of its own: it keeps one input for its backward. Raises TypeError for something that
    is no Layer, ValueError for a layer given twice.
    """

    def __init__(self, *layers: Layer) -> None:
        for place, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"Sequential: layer {place} is a {type(layer).__qualname__}; expected a Layer")
        places: dict[int, str] = {}
        for name, layer in _walk("", layers):
            if id(layer) in places:
                message = f"Sequential: layer {name} is the same object as layer {places[id(layer)]}"
                raise ValueError(f"{message}; expected a layer of its own in every place")
            places[id(layer)] = name
        self.layers = layers

    def forward(self, x: Any) -> Any:
        for layer in _pooling_first(self.layers):
            x = layer(x)
        return x

    def backward(self, dy: Any, *, needs_input_grad: bool = True) -> Any:
        """As Layer.backward. With needs_input_grad=False nothing is computed before the first layer with parameters."""
        first = 0 if needs_input_grad else self._first_with_parameters()
        layers = _pooling_first(self.layers)
        for place in reversed(range(first, len(layers))):
            dy = layers[place].backward(dy, needs_input_grad=needs_input_grad or place > first)
        return dy if needs_input_grad else None

    def _first_with_parameters(self) -> int:
        trained = (place for place, layer in enumerate(self.layers) if any(layer.parameters()))
        return next(trained, len(self.layers))

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(place), layer) for place, layer in enumerate(self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, place: int) -> Layer:
        return self.layers[place]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def _pooling_first(layers: tuple[Layer, ...]) -> list[Layer]:
    """The layers in the order of their calls: the largest element of a window is the same before and after ReLU.

    Not with a dilation: a window wholly in padding gives -inf, which ReLU must not meet.
    """
    order = list(layers)
    for place, (before, after) in enumerate(pairwise(layers)):
        if type(before) is ReLU and type(after) is MaxPool2d and after.options["dilation"] in (1, (1, 1), [1, 1]):
            order[place : place + 2] = after, before
    return order


def _walk(prefix: str, layers: tuple[Layer, ...]) -> Iterator[tuple[str, Layer]]:
    for place, layer in enumerate(layers):
        yield f"{prefix}{place}", layer
        yield from _walk(f"{prefix}{place}.", tuple(child for _, child in layer.children()))
