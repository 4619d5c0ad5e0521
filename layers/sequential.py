"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..kernels.types import A, Array
from .base import Layer


class Sequential(Layer):
    """The layers in order, given one after another, or as a dict of names.

    Each is an attribute under its name, or its place: parameters are named "0.weight", "0.bias", "2.weight" ...
    Every layer must be an object of its own: it keeps one input for its backward. Raises TypeError for something that
    is no Layer, ValueError for a layer given twice or a name that cannot be an attribute.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        only = layers[0] if len(layers) == 1 else None
        adopt(self, only if isinstance(only, Mapping) else dict(enumerate(layers)))

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for _, layer in self.children())

    def forward(self, x: A) -> A:
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """As Layer.backward. With needs_input_grad=False nothing is computed before the first layer that is trained."""
        layers = self.layers
        first = (
            0 if needs_input_grad else next((place for place, layer in enumerate(layers) if is_trained(layer)), None)
        )
        if first is None:
            return None
        for place in reversed(range(first, len(layers))):
            dy = layers[place].backward(dy, needs_input_grad=needs_input_grad or place > first)
        return dy if needs_input_grad else None

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, place: int | str) -> Layer:
        """The layer at a place, or of a name."""
        return dict(self.children())[place] if isinstance(place, str) else self.layers[place]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return described(self)


def adopt(container: Layer, layers: Mapping[Any, Any]) -> None:
    """Make the layers attributes of their container. Raises as Sequential."""
    kind = type(container).__name__
    for name, layer in layers.items():
        if not isinstance(layer, Layer):
            raise TypeError(f"{kind}: layer {name} is a {type(layer).__qualname__}; expected a Layer")
        name = str(name)
        if not name or "." in name or hasattr(container, name):
            raise ValueError(
                f"{kind}: the name {name!r} cannot be a layer's; expected one without '.', of no attribute"
            )
        setattr(container, name, layer)
    try:
        for _ in container.named_layers():
            pass
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None


def is_trained(layer: Layer) -> bool:
    """Whether any parameter in it asks for a gradient."""
    return any(parameter.requires_grad for parameter in layer.parameters())


def described(container: Layer) -> str:
    """The container's call, with names where they are no places."""
    children = list(container.children())
    if all(name == str(place) for place, (name, _) in enumerate(children)):
        return f"{type(container).__name__}({', '.join(repr(layer) for _, layer in children)})"
    named = ", ".join(f"{name!r}: {layer!r}" for name, layer in children)
    return f"{type(container).__name__}({{{named}}})"
