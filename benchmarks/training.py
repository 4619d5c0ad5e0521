"""A whole training step of a small CNN: forward, loss, backward and update, ours and its PyTorch twin.

conv 3x3 -> ReLU -> max pool 2x2 -> conv 3x3 -> ReLU -> max pool 2x2 -> linear, cross-entropy, SGD with momentum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

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


def training_step(images: Any, labels: Any) -> Callable[[], tuple[Any, ...]]:
    """A call that takes one step on images (N, C, H, W) and labels (N,).

    It returns the parameters and their gradients, in PyTorch's shapes.
    """
    from ..layers import CrossEntropyLoss
    from ..optim import SGD

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


def torch_training_step(images: Any, labels: Any) -> Callable[[], tuple[Any, ...]]:
    """The same step by PyTorch, from the same parameters; images and labels are its tensors."""
    import torch
    from torch import nn

    _, channels, height, width = images.shape
    first, second = CHANNELS
    net = nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (width // 4), CLASSES),
    )
    ours = network((channels, height, width))
    with torch.no_grad():
        for theirs, parameter in zip(net.parameters(), ours.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(parameter.data).reshape(theirs.shape))
    net.to(images.device, images.dtype)
    loss = nn.CrossEntropyLoss()
    parameters = list(net.parameters())
    optimizer = torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM)

    def step() -> tuple[Any, ...]:
        optimizer.zero_grad()
        loss(net(images), labels).backward()
        optimizer.step()
        return tuple(a.detach() for p in parameters for a in (p, p.grad))

    return step


def training_flops(images_shape: tuple[int, ...]) -> int:
    """Operations of the convolutions and the linear layer: forward, dx and dw, without the first layer's dx."""
    n, channels, height, width = images_shape
    first, second = CHANNELS
    conv1 = 2 * n * first * height * width * channels * 9
    conv2 = 2 * n * second * math.prod((height // 2, width // 2)) * first * 9
    linear = 2 * n * CLASSES * second * (height // 4) * (width // 4)
    return 2 * conv1 + 3 * conv2 + 3 * linear
