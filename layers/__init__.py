"""Layers that hold parameters, call the kernels, and add gradients up."""

from .activation import GELU, Flatten, Hardswish, Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Tanh
from .base import Buffer, Layer, Parameter
from .branches import Add, Concatenate, Residual
from .conv2d import Conv2d
from .linear import Linear
from .loss import CrossEntropyLoss
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, LayerNorm
from .pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .sequential import Sequential

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "Concatenate",
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "GroupNorm",
    "Hardswish",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
