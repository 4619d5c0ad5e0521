"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..kernels.types import A, Array
from .base import Layer


class Sequential(Layer):
    """The layers in order; parameters are named "0.weight", "0.bias", "2.weight" ... by their layer's place.

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

    def forward(self, x: A) -> A:
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """As Layer.backward. With needs_input_grad=False nothing is computed before the first layer with parameters."""
        first = 0 if needs_input_grad else self._first_with_parameters()
        for place in reversed(range(first, len(self.layers))):
            dy = self.layers[place].backward(dy, needs_input_grad=needs_input_grad or place > first)
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


def _walk(prefix: str, layers: tuple[Layer, ...]) -> Iterator[tuple[str, Layer]]:
    for place, layer in enumerate(layers):
        yield f"{prefix}{place}", layer
        yield from _walk(f"{prefix}{place}.", tuple(child for _, child in layer.children()))
