"""Layers that hold parameters, call the kernels, and add gradients up."""

from .activation import Flatten, ReLU
from .base import Buffer, Layer, Parameter
from .conv2d import Conv2d
from .linear import Linear
from .loss import CrossEntropyLoss
from .pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .sequential import Sequential

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "Sequential",
]
