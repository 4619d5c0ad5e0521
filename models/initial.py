"""The weights that networks start from, as torchvision draws them."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ..backend import asarray
from ..layers import Conv2d, Layer, Linear

Rng: TypeAlias = "np.random.Generator | int | None"  # text: numpy.random is loaded at first use


def draw(net: Layer, rng: np.random.Generator, *, linear: float | None = None) -> None:
    """Draw convolutions' weights from N(0, 2/(K R S)) (He et al. 2015, counted at the output), with biases of 0.

    linear: the standard deviation of fully connected layers' weights, whose biases are then 0 too; None leaves them.
    """
    for _, layer in net.named_layers():
        if isinstance(layer, Conv2d):
            outputs, _, *taps = layer.weight.data.shape
            _normal(layer, rng, math.sqrt(2 / (outputs * math.prod(taps))))
        elif isinstance(layer, Linear) and linear is not None:
            _normal(layer, rng, linear)


def _normal(layer: Any, rng: np.random.Generator, deviation: float) -> None:
    weight = layer.weight.data
    weight[...] = asarray((rng.standard_normal(weight.shape) * deviation).astype(weight.dtype))
    if layer.bias is not None:
        layer.bias.data.fill(0)
