"""The training step by others: by the textbook forms of its operations, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.conv import peers as conv
from ..kernels.conv.geometry import ConvGeometry
from ..kernels.peers import Array
from ..kernels.pool import peers as pool
from ..kernels.pool.geometry import PoolGeometry
from .training import CHANNELS, CLASSES, LEARNING_RATE, MOMENTUM, Geometry, labels_of, network


def training_step(images: Array, g: Geometry) -> tuple[Array, ...]:
    """The first step from the same parameters, whose momentum is the gradient: parameters and gradients."""
    parameters = [p.data.reshape(p.state_shape).astype(images.dtype) for p in network(g.images_shape[1:]).parameters()]
    w1, b1, w2, b2, w3, b3 = parameters
    pooled1, backward1 = _block(images, w1, b1)
    pooled2, backward2 = _block(pooled1, w2, b2)
    features = pooled2.reshape(len(images), -1)
    dlogits = _cross_entropy_grad(features @ w3.T + b3, labels_of(images))
    dx2, dw2, db2 = backward2((dlogits @ w3).reshape(pooled2.shape))
    _, dw1, db1 = backward1(dx2)
    gradients = (dw1, db1, dw2, db2, dlogits.T @ features, dlogits.sum(axis=0))
    stepped = zip(parameters, gradients, strict=True)
    return tuple(a for p, gradient in stepped for a in (p - LEARNING_RATE * gradient, gradient))


def _block(x: Array, w: Array, b: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array]]]:
    """conv 3x3 -> ReLU -> max pool 2x2, and what gives (dx, dw, db) from the gradient of its output."""
    g = ConvGeometry.of("conv2d", x.shape, w.shape, stride=1, padding=1, dilation=1, groups=1)
    window = PoolGeometry.of("max_pool2d", g.y_shape, 2)
    z = conv.conv(x, w, b, g)
    pooled, taps = pool.max_pool(np.maximum(z, 0), window)

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        dz = pool.max_pool_grad(dy, taps, window) * (z > 0)
        return conv.conv_input_grad(dz, w, g), conv.conv_weight_grad(dz, x, g), dz.sum(axis=(0, 2, 3))

    return pooled, backward


def _cross_entropy_grad(logits: Array, labels: Array) -> Array:
    """(softmax - one hot) / N."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = exponentials / exponentials.sum(axis=1, keepdims=True)
    gradient[np.arange(len(labels)), labels] -= 1
    return gradient / len(labels)


def _torch_step(images: Any, g: Geometry) -> Callable[[], tuple[Any, ...]]:
    """The same step by PyTorch, from the same parameters; images is its tensor."""
    import torch
    from torch import nn

    labels = torch.from_numpy(labels_of(images)).to(images.device)
    _, channels, height, width = g.images_shape
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


TEXTBOOK: dict[str, Callable[..., Any]] = {"training_step": training_step}
TORCH: dict[str, Callable[..., Callable[[], Any]]] = {"training_step": _torch_step}
CUBLAS: dict[str, Callable[..., Any]] = {}
