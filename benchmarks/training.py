"""A whole training step of a small CNN, as an operation: forward, loss, backward and update.

conv 3x3 -> ReLU -> max pool 2x2 -> conv 3x3 -> ReLU -> max pool 2x2 -> linear, cross-entropy, SGD with momentum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import asarray
from ..kernels.operation import Case, Family, Input, Operation

CHANNELS = (32, 64)
CLASSES = 10
LEARNING_RATE = 0.01
MOMENTUM = 0.9


def network(image_shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """The network for images of shape (C, H, W), H and W multiples of 4; the same parameters in every dtype."""
    from ..layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential

    channels, height, width = image_shape
    first, second = CHANNELS
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv2d(channels, first, 3, padding=1, dtype=dtype, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(first, second, 3, padding=1, dtype=dtype, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(second * (height // 4) * (width // 4), CLASSES, dtype=dtype, rng=rng),
    )
    if dtype != "float32":
        for parameter, drawn in zip(net.parameters(), network(image_shape).parameters(), strict=True):
            parameter.data[...] = drawn.data
    return net


def labels_of(images: Any) -> np.ndarray:
    """A class for each image."""
    return np.arange(len(images)) % CLASSES


def training_step(images: Any) -> Callable[[], tuple[Any, ...]]:
    """A call that takes one step on images (N, C, H, W).

    It returns the parameters and their gradients, in PyTorch's shapes.
    """
    from ..layers import CrossEntropyLoss
    from ..optim import SGD

    labels = asarray(labels_of(images))
    net = network(images.shape[1:], images.dtype.name)
    loss = CrossEntropyLoss()
    parameters = list(net.parameters())
    optimizer = SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> tuple[Any, ...]:
        net.zero_grad()
        loss.forward(net.forward(images), labels)
        net.backward(loss.backward(), needs_input_grad=False)
        optimizer.step()
        return tuple(a.reshape(p.state_shape) for p in parameters for a in (p.data, p.grad))

    return step


@dataclass(frozen=True)
class Geometry:
    """The images of a step, (N, C, H, W)."""

    images_shape: tuple[int, ...]

    @property
    def flops(self) -> int:
        """Operations of the convolutions and the linear layer: forward, dx and dw, without the first layer's dx."""
        n, channels, height, width = self.images_shape
        first, second = CHANNELS
        conv1 = 2 * n * first * height * width * channels * 9
        conv2 = 2 * n * second * math.prod((height // 2, width // 2)) * first * 9
        linear = 2 * n * CLASSES * second * (height // 4) * (width // 4)
        return 2 * conv1 + 3 * conv2 + 3 * linear


OPERATION = Operation(
    "training_step",
    "training step",
    Family(
        "training",
        room="training",
        options={},
        geometry=lambda operation, x_shape, w_shape: Geometry(x_shape),
        case=lambda g: Case("", g.images_shape),
        cases=(),
    ),
    inputs=(Input("images", lambda g: g.images_shape),),
    outputs=(),
    flops=lambda g: g.flops,
)
"""Without outputs, whose bytes would count: how often a step moves its activations is no property of the network."""
