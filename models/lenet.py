"""LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Identity, Linear, Sequential, Tanh
from .initial import Rng


def lenet5(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): two convolutions with tanh and average pooling, and three
    fully connected layers.

    Made for images of 32x32; the second pooling gives 5x5 values for others too. small_images: a first convolution of
    3x3 that keeps the size, and no pooling after it, for 8x8 and the like. dtype, rng: as for the layers. The
    parameters are those of conv1, conv2, fc1, fc2 and fc3. Raises as the layers.
    """
    rng = np.random.default_rng(rng)
    kernel, padding = (3, 1) if small_images else (5, 0)
    return Sequential(
        {
            "conv1": Conv2d(in_channels, 6, kernel, padding=padding, dtype=dtype, rng=rng),
            "tanh1": Tanh(),
            "pool1": Identity() if small_images else AvgPool2d(2),
            "conv2": Conv2d(6, 16, 5, dtype=dtype, rng=rng),
            "tanh2": Tanh(),
            "pool2": AdaptiveAvgPool2d(5),
            "fc1": Linear(400, 120, dtype=dtype, rng=rng),
            "tanh3": Tanh(),
            "fc2": Linear(120, 84, dtype=dtype, rng=rng),
            "tanh4": Tanh(),
            "fc3": Linear(84, num_classes, dtype=dtype, rng=rng),
        }
    )
