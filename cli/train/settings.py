"""What decides every bit of a training run, and what comes of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ... import models
from ..._state import Check, is_int, is_number, items, record, scalar
from ...kernels.dtypes import NAMES as DTYPES
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

    schedule_epochs: those that a schedule is made for; 0 for the constant one.
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


def _one_of(names: Any) -> Check:
    return scalar(f"one of {', '.join(names)}", lambda name: isinstance(name, str) and name in names)


_LOSS = scalar("a number of at least 0, or NaN", lambda loss: is_number(loss) and not loss < 0)
_SHARE = scalar("a number from 0 to 1", lambda share: is_number(share) and 0 <= share <= 1)
CHECK: Check = record(
    settings=record(
        batch_size=scalar("an int of at least 1", lambda size: is_int(size, 1)),
        lr=scalar("a finite number above 0", lambda lr: is_number(lr) and 0 < lr < math.inf),
        seed=scalar("an int of at least 0", lambda seed: is_int(seed, 0)),
        model=_one_of(MODELS),
        data=scalar("a path", lambda path: isinstance(path, str)),
        schedule=_one_of(SCHEDULES),
        schedule_epochs=scalar("an int of at least 0", lambda epochs: is_int(epochs, 0)),
        augment=_one_of(AUGMENTATIONS),
        dtype=_one_of(DTYPES),
    ),
    history=items(record(loss=_LOSS, accuracy=_SHARE, test_loss=_LOSS, test_accuracy=_SHARE)),
    loss_scale=items(scalar("a number of at least 0", lambda number: is_number(number) and 0 <= number < math.inf)),
)
"""What a saved training state must be."""


def filled(training: Any) -> Any:
    """A training state of version 0.2, which knew fewer settings, as one of this version."""
    if isinstance(training, dict) and isinstance(training.get("settings"), dict):
        later = {field.name: field.default for field in fields(Settings)[3:]}
        training = {"loss_scale": [], **training, "settings": {**later, **training["settings"]}}
    return training
