"""Residual networks (He et al., "Deep residual learning for image recognition", 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..kernels.types import A, Array
from ..layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Identity, Layer, Linear, MaxPool2d, Sequential
from ..layers.branches import summed
from .initial import Rng, draw

Stages = list[tuple[int, int, int]]
"""Channels, kernel size and stride of the convolutions one after another."""


class ResidualBlock(Layer):
    """y = relu(body(x) + shortcut(x)): convolutions conv1, conv2 ..., each with its batch normalisation bn1, bn2 ...
    and a ReLU, of which the last comes after the sum; downsample is the shortcut's 1x1 convolution, or None.
    """

    def __init__(self, in_channels: int, stages: Stages, dtype: Any, rng: np.random.Generator) -> None:
        channels, strides = in_channels, 1
        for place, (out_channels, kernel, stride) in enumerate(stages, 1):
            conv = Conv2d(channels, out_channels, kernel, stride, kernel // 2, bias=False, dtype=dtype, rng=rng)
            setattr(self, f"conv{place}", conv)
            setattr(self, f"bn{place}", BatchNorm2d(out_channels, activation="relu", dtype=dtype))
            channels, strides = out_channels, strides * stride
        self.downsample = None
        if strides != 1 or channels != in_channels:
            conv = Conv2d(in_channels, channels, 1, strides, bias=False, dtype=dtype, rng=rng)
            self.downsample = Sequential(conv, BatchNorm2d(channels, dtype=dtype))
        self._count = len(stages)

    def consecutive(self) -> Iterator[tuple[str, str]]:
        return ((f"conv{place}", f"bn{place}") for place in range(1, self._count + 1))

    def _body(self) -> list[Any]:
        return [getattr(self, name) for pair in self.consecutive() for name in pair]

    def forward(self, x: A) -> A:
        *body, last = self._body()
        y = x
        for layer in body:
            y = layer(y)
        summed_up: A = last(y, x if self.downsample is None else self.downsample(x))
        return summed_up

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        first, *body, last = self._body()
        dx, of_shortcut = last.backward(dy)
        for layer in reversed(body):
            dx = layer.backward(dx)
        dx = first.backward(dx, needs_input_grad=needs_input_grad)
        if self.downsample is not None:
            of_shortcut = self.downsample.backward(of_shortcut, needs_input_grad=needs_input_grad)
        return summed([dx, of_shortcut]) if needs_input_grad else None


def _basic(channels: int, stride: int) -> Stages:
    return [(channels, 3, stride), (channels, 3, 1)]


def _bottleneck(channels: int, stride: int) -> Stages:
    """The stride is the middle convolution's, as in torchvision."""
    return [(channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)]


def _resnet(
    stages_of: Any,
    blocks: tuple[int, ...],
    num_classes: int,
    in_channels: int,
    small_images: bool,
    dtype: Any,
    rng: Rng,
) -> Sequential:
    rng = np.random.default_rng(rng)
    kernel, stride = (3, 1) if small_images else (7, 2)
    layers: dict[str, Layer] = {
        "conv1": Conv2d(in_channels, 64, kernel, stride, kernel // 2, bias=False, dtype=dtype, rng=rng),
        "bn1": BatchNorm2d(64, activation="relu", dtype=dtype),
        "maxpool": Identity() if small_images else MaxPool2d(3, 2, 1),
    }
    channels = 64
    for number, count in enumerate(blocks, 1):
        group = []
        for place in range(count):
            stages = stages_of(64 * 2 ** (number - 1), 2 if number > 1 and place == 0 else 1)
            group.append(ResidualBlock(channels, stages, dtype, rng))
            channels = stages[-1][0]
        layers[f"layer{number}"] = Sequential(*group)
    layers |= {"avgpool": AdaptiveAvgPool2d(1), "fc": Linear(channels, num_classes, dtype=dtype, rng=rng)}
    net = Sequential(layers)
    draw(net, rng)
    return net


def resnet18(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 8 blocks of two convolutions.

    small_images: a 3x3 first convolution of stride 1 without pooling, for images of 32x32 and the like. dtype, rng: as
    for the layers. Parameters and buffers have torchvision's names. Raises as the layers.

    >>> import numpy as np
    >>> from backstride.models import resnet18
    >>> net = resnet18(10, in_channels=1, small_images=True, rng=0)
    >>> net(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    return _resnet(_basic, (2, 2, 2, 2), num_classes, in_channels, small_images, dtype, rng)


def resnet34(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 16 blocks of two convolutions. Else as resnet18."""
    return _resnet(_basic, (3, 4, 6, 3), num_classes, in_channels, small_images, dtype, rng)


def resnet50(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes): 16 blocks of three convolutions, 1x1, 3x3 and 1x1.

    Else as resnet18. A block's stride is its 3x3 convolution's, as in torchvision.
    """
    return _resnet(_bottleneck, (3, 4, 6, 3), num_classes, in_channels, small_images, dtype, rng)
