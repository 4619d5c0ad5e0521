"""The networks whose pages are looked at."""

from __future__ import annotations

import numpy as np

from backstride.explanation import Explanation
from backstride.layers import (
    GELU,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concatenate,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GroupNorm,
    Identity,
    LayerNorm,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Softmax,
    Upsample,
)


def textbook():
    """The network of backprop.md."""
    conv, linear = Conv2d(3, 2, (3, 2), stride=2, rng=1), Linear(50, 32, batch_axis=1, rng=2)
    return Explanation(Sequential(conv, MaxPool2d(2, stride=3), linear), (10, 3, 29, 28))


def every_kind():
    """Each kind of layer, with uneven windows, padding, dilation and groups."""
    net = Sequential(
        Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, rng=0),
        BatchNorm2d(6, activation="relu"),
        MaxPool2d(3, 2, 1, ceil_mode=True),
        Dropout(0.3, rng=1),
        ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2, rng=3),
        GroupNorm(2, 4),
        GELU(),
        Residual(Conv2d(4, 4, 1, rng=3)),
        AvgPool2d(2, 1, 1),
        Upsample(size=(9, 11), mode="bilinear"),
        Concatenate(Identity(), Sequential(Upsample(size=(9, 11)), ReLU())),
        Add(Identity(), BatchNorm2d(8)),
        AdaptiveAvgPool2d((3, 4)),
        Flatten(),
        LayerNorm(96),
        Linear(96, 5, rng=2),
        Softmax(),
    )
    return Explanation(net, (3, 4, 9, 8))


def one_axis():
    return Explanation(
        Sequential(
            Conv1d(2, 3, 3, stride=2, padding=1, dilation=2, activation="relu", rng=0),
            Linear(12, 4, activation="relu", rng=1),
            Linear(4, 2, rng=2),
        ),
        (2, 2, 9),
    )


def channels_last():
    net = Sequential(
        Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, rng=0, layout="NHWC"),
        BatchNorm2d(6, activation="relu", layout="NHWC"),
        ReLU(),
        MaxPool2d(3, 2, 1, layout="NHWC"),
        ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2, rng=3, layout="NHWC"),
        AvgPool2d(2, 1, 1, layout="NHWC"),
        AdaptiveAvgPool2d((3, 2), layout="NHWC"),
        Flatten(),
        Linear(24, 5, rng=2),
    )
    return Explanation(net, (3, 9, 8, 4))


def many_images():
    """More than a page holds."""
    return Explanation(Sequential(Conv2d(1, 2, 3, padding=1, rng=0), BatchNorm2d(2)), (40, 1, 20, 20))


def some_elements(shape, rng, count=4):
    """The first, the last, and others of an array of this shape."""
    found = {(0,) * len(shape), tuple(extent - 1 for extent in shape)}
    return sorted(found | {tuple(int(rng.integers(extent)) for extent in shape) for _ in range(count)})


def near(terms, computed):
    """Whether a sum of these products is the kernel's, but for roundings of either."""
    magnitude = sum(abs(term.value) for term in terms)
    return abs(sum(term.value for term in terms) - computed) <= 1e-13 * max(magnitude, np.finfo(float).tiny)
