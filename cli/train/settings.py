"""What decides every bit of a training run, and what comes of each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import models
from ...layers import Conv2d, Layer, Linear, MaxPool2d, ReLU, Sequential
from ...optim import schedules
from .augment import KINDS
from .data import DIGITS

FILTERS = 48
SMALL = "small"
MODELS = (SMALL, *(name for name in models.__all__ if name != "unet"))  # which reads every pixel
LARGE_IMAGE = 64
"""From this size on a model begins with a strided convolution and pooling."""

SCHEDULES: dict[str, Callable[[int], np.ndarray] | None] = {
    "constant": None,
    "step": lambda steps: schedules.step(steps, -(-steps // 3)),
    "cosine": lambda steps: schedules.cosine(steps, warmup=steps // 20),
    "one-cycle": schedules.one_cycle,
}
"""Of the number of all steps: what lr is multiplied by at each."""

AUGMENTATIONS = ("none", *KINDS, "+".join(KINDS))


@dataclass(frozen=True)
class Settings:
    """What decides every bit of a run, besides the number of its epochs.

    schedule_epochs: those that a schedule is made for; 0 for the constant one. shards: the parts of a batch whose
    gradients are summed up in a fixed order, by as many processes or fewer.
    """

    batch_size: int = 32
    lr: float = 0.05
    seed: int = 0
    model: str = SMALL
    data: str = DIGITS
    schedule: str = "constant"
    schedule_epochs: int = 0
    augment: str = "none"
    dtype: str = "float32"
    shards: int = 1


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch's training images while it ran, and over the test images after it."""

    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float


def network(
    rng: np.random.Generator, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, dtype: str = "float32"
) -> Sequential:
    """The shape of the textbook network, for 8x8 digits: a strided convolution with a rectangular kernel, max pooling,
    fully connected."""
    channels, height, width = shape
    conv = Conv2d(channels, FILTERS, (5, 4), stride=2, padding=2, dtype=dtype, rng=rng)
    pooled = ((height - 1) // 2, width // 2)  # (N, 1, 8, 8) -> (N, 48, 4, 5) -> (N, 48, 3, 4)
    return Sequential(
        conv, ReLU(), MaxPool2d(2, stride=1), Linear(FILTERS * pooled[0] * pooled[1], classes, dtype=dtype, rng=rng)
    )


def model(settings: Settings, shape: tuple[int, int, int], classes: int) -> Layer:
    """The network that the settings name, for images of this shape. ValueError where they are too small for it."""
    rng = np.random.default_rng(settings.seed)
    if settings.model == SMALL:
        return network(rng, shape, classes, settings.dtype)
    small_images = min(shape[1:]) < LARGE_IMAGE
    net: Layer = getattr(models, settings.model)(
        classes, in_channels=shape[0], small_images=small_images, dtype=settings.dtype, rng=rng
    )
    return net
