"""One pass forward and backward through a network, with what arrived at every layer in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..layers import Layer


@dataclass(eq=False)
class Passed:
    """What a layer was given and gave: x, others (inputs beside x, by name), y; dy, the gradient of y, and dx."""

    layer: Layer
    x: Any
    others: dict[str, Any]
    y: Any
    dy: Any = None
    dx: Any = None


def trace(net: Layer, x: Any, arriving: Callable[[Any], Any]) -> list[Passed]:
    """Run `net` on x and back from arriving(y); every layer that backward came to, in the order their forwards ended.

    Containers come after the layers in them, and `net` last.
    """
    passed: list[Passed] = []
    layers = [layer for _, layer in net.named_layers()]
    for layer in layers:
        _watch(layer, passed)
    try:
        net.backward(arriving(net(x)))
    finally:
        for layer in layers:
            del layer.forward, layer.backward
    return [each for each in passed if each.dy is not None]


def _watch(layer: Layer, passed: list[Passed]) -> None:
    """Give the layer methods of its own, which note what they are called with."""
    forward, backward = layer.forward, layer.backward
    names = list(inspect.signature(forward).parameters)[1:]
    last: list[Passed] = []

    def watched_forward(x: Any, *others: Any) -> Any:
        y = forward(x, *others)
        last[:] = [Passed(layer, x, dict(zip(names, others)), y)]  # noqa: B905
        passed.extend(last)
        return y

    def watched_backward(dy: Any, **options: Any) -> Any:
        (each,) = last
        gradients = backward(dy, **options)
        each.dx = gradients[0] if isinstance(gradients, tuple) else gradients
        each.dy = dy
        return gradients

    layer.forward, layer.backward = watched_forward, watched_backward  # type: ignore[method-assign]
