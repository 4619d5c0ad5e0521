"""MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import (
    AdaptiveAvgPool2d,
    Add,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Layer,
    Linear,
    ReLU6,
    Sequential,
)
from .initial import Rng, draw

_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""By what the channels are multiplied inside a block, its output channels, blocks, and the first one's stride."""


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int, dtype: Any, rng: np.random.Generator
) -> Sequential:
    conv = Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, 1, groups, False, dtype=dtype, rng=rng)
    return Sequential(conv, BatchNorm2d(out_channels, dtype=dtype), ReLU6())


def _inverted_residual(
    in_channels: int, out_channels: int, stride: int, expansion: int, dtype: Any, rng: np.random.Generator
) -> Layer:
    """A 1x1 convolution to more channels, a depthwise one, and a 1x1 convolution to fewer without activation."""
    inner = in_channels * expansion
    wider = [] if expansion == 1 else [_convolution(in_channels, inner, 1, 1, 1, dtype, rng)]
    conv = Sequential(
        *wider,
        _convolution(inner, inner, 3, stride, inner, dtype, rng),
        Conv2d(inner, out_channels, 1, bias=False, dtype=dtype, rng=rng),
        BatchNorm2d(out_channels, dtype=dtype),
    )
    if stride == 1 and in_channels == out_channels:
        return Add({"conv": conv, "shortcut": Identity()})
    return Sequential({"conv": conv})


def mobilenet_v2(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 17 blocks around depthwise convolutions, with ReLU6.

    small_images: a first convolution of stride 1, for images of 32x32 and the like. dtype, rng: as for the layers.
    Parameters and buffers have torchvision's names. Raises as the layers.
    """
    rng = np.random.default_rng(rng)
    features: list[Layer] = [_convolution(in_channels, 32, 3, 1 if small_images else 2, 1, dtype, rng)]
    channels = 32
    for expansion, out_channels, count, stride in _GROUPS:
        for place in range(count):
            step = stride if place == 0 else 1
            features.append(_inverted_residual(channels, out_channels, step, expansion, dtype, rng))
            channels = out_channels
    features.append(_convolution(channels, 1280, 1, 1, 1, dtype, rng))
    net = Sequential(
        {
            "features": Sequential(*features),
            "avgpool": AdaptiveAvgPool2d(1),
            "flatten": Flatten(),
            "classifier": Sequential(Dropout(0.2, rng=rng), Linear(1280, num_classes, dtype=dtype, rng=rng)),
        }
    )
    draw(net, rng, linear=0.01)
    return net
