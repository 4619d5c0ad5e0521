"""VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import AdaptiveAvgPool2d, Conv2d, Dropout, Identity, Layer, Linear, MaxPool2d, ReLU, Sequential
from .initial import Rng, draw


def _vgg(
    groups: tuple[tuple[int, ...], ...], num_classes: int, in_channels: int, small_images: bool, dtype: Any, rng: Rng
) -> Sequential:
    """groups: the channels of the convolutions between two poolings."""
    rng = np.random.default_rng(rng)
    features: list[Layer] = []
    channels = in_channels
    for group in groups:
        for out_channels in group:
            features += [Conv2d(channels, out_channels, 3, padding=1, dtype=dtype, rng=rng), ReLU()]
            channels = out_channels
        without_pooling = small_images and group is groups[0]
        features.append(Identity() if without_pooling else MaxPool2d(2))
    side = 1 if small_images else 7
    classifier = Sequential(
        Linear(channels * side * side, 4096, dtype=dtype, rng=rng),
        ReLU(),
        Dropout(0.5, rng=rng),
        Linear(4096, 4096, dtype=dtype, rng=rng),
        ReLU(),
        Dropout(0.5, rng=rng),
        Linear(4096, num_classes, dtype=dtype, rng=rng),
    )
    net = Sequential({"features": Sequential(*features), "avgpool": AdaptiveAvgPool2d(side), "classifier": classifier})
    draw(net, rng, linear=0.01)
    return net


def vgg11(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 8 convolutions and 3 fully connected layers with dropout.

    H and W are at least 32. small_images: at least 16, since the first pooling is left out; the average before the
    classifier is then over the whole image, so that classifier.0 has 512 inputs instead of 25,088. dtype, rng: as for
    the layers. Parameters have torchvision's names. Raises as the layers.
    """
    groups = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    return _vgg(groups, num_classes, in_channels, small_images, dtype, rng)


def vgg16(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 13 convolutions and 3 fully connected layers. As vgg11."""
    groups = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
    return _vgg(groups, num_classes, in_channels, small_images, dtype, rng)
