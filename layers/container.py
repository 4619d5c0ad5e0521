"""What layers that hold others have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .base import Layer


class Container(Layer):
    """Layers under their places "0", "1" ..., or given as a dict, their names, which are attributes.

    Every layer must be an object of its own: it keeps one input for its backward. Raises TypeError for something that
    is no Layer, ValueError for a layer given twice or a name that cannot be an attribute.
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer]) -> None:
        kind = type(self).__name__
        only = layers[0] if len(layers) == 1 else None
        named: Mapping[Any, Any] = only if isinstance(only, Mapping) else dict(enumerate(layers))
        for name, layer in named.items():
            if not isinstance(layer, Layer):
                raise TypeError(f"{kind}: layer {name} is a {type(layer).__qualname__}; expected a Layer")
            if not str(name) or "." in str(name) or hasattr(self, str(name)):
                expected = "one without a dot, of no other attribute"
                raise ValueError(f"{kind}: the name '{name}' cannot be a layer's; expected {expected}")
            setattr(self, str(name), layer)
        try:
            for _ in self.named_layers():
                pass
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for _, layer in self.children())

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, place: int | str) -> Layer:
        """The layer at a place, or of a name."""
        return dict(self.children())[place] if isinstance(place, str) else self.layers[place]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._described()})"

    def _described(self) -> str:
        """The layers as arguments: a dict where their names are no places."""
        children = list(self.children())
        if all(name == str(place) for place, (name, _) in enumerate(children)):
            return ", ".join(repr(layer) for _, layer in children)
        named = ", ".join(f"{name!r}: {layer!r}" for name, layer in children)
        return f"{{{named}}}"


def is_trained(layer: Layer) -> bool:
    """Whether any parameter in it asks for a gradient."""
    return any(parameter.requires_grad for parameter in layer.parameters())
