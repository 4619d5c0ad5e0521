"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ..kernels.types import A, Array
from .container import Container, is_trained
from .shard import current_shard


class Sequential(Container):
    """The layers in order, given one after another, or as a dict of names.

    Parameters are named after their layer: "0.weight", "0.bias", "2.weight" ..., or "conv.weight" in
    Sequential({"conv": Conv2d(3, 8, 3)}). Every layer must be an object of its own: it keeps one input for its
    backward. Raises TypeError for something that is no Layer, ValueError for a layer given twice or a name that cannot
    be an attribute.
    """

    def consecutive(self) -> Iterable[tuple[str, str]]:
        return pairwise(name for name, _ in self.children())

    def forward(self, x: A) -> A:
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """As Layer.backward. With needs_input_grad=False nothing is computed before the first layer that is trained."""
        layers = self.layers
        trained = (place for place, layer in enumerate(layers) if is_trained(layer))
        first = 0 if needs_input_grad else next(trained, len(layers))
        shard = current_shard()
        for place in reversed(range(first, len(layers))):
            dy = layers[place].backward(dy, needs_input_grad=needs_input_grad or place > first)
            if shard is not None:
                shard.has_finished(layers[place])
        return dy if needs_input_grad else None
