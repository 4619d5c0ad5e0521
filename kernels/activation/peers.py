"""Activations by others: as a textbook writes them in NumPy, and in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry

Array = np.ndarray

_erf = np.vectorize(math.erf, otypes=[np.float64])
_SCALE = math.sqrt(2 / math.pi)


def relu(x: Array, g: ActivationGeometry) -> Array:
    return np.maximum(x, 0)


def relu_grad(dy: Array, y: Array, g: ActivationGeometry) -> Array:
    return np.where(y <= 0, 0, dy)


def relu6(x: Array, g: ActivationGeometry) -> Array:
    return np.clip(x, 0, 6)


def relu6_grad(dy: Array, y: Array, g: ActivationGeometry) -> Array:
    return np.where((y <= 0) | (y >= 6), 0, dy)


def leaky_relu(x: Array, g: LeakyReluGeometry) -> Array:
    return np.where(x > 0, x, g.negative_slope * x)


def leaky_relu_grad(dy: Array, y: Array, g: LeakyReluGeometry) -> Array:
    return np.where(y > 0, dy, g.negative_slope * dy)


def sigmoid(x: Array, g: ActivationGeometry) -> Array:
    return 1 / (1 + np.exp(-x))


def sigmoid_grad(dy: Array, y: Array, g: ActivationGeometry) -> Array:
    return dy * y * (1 - y)


def tanh(x: Array, g: ActivationGeometry) -> Array:
    return np.tanh(x)


def tanh_grad(dy: Array, y: Array, g: ActivationGeometry) -> Array:
    return dy * (1 - y**2)


def silu(x: Array, g: ActivationGeometry) -> Array:
    return x * sigmoid(x, g)


def silu_grad(dy: Array, x: Array, g: ActivationGeometry) -> Array:
    s = sigmoid(x, g)
    return dy * (s + x * s * (1 - s))


def gelu(x: Array, g: GeluGeometry) -> Array:
    return x * _gelu_factor(x, g)


def gelu_grad(dy: Array, x: Array, g: GeluGeometry) -> Array:
    factor = _gelu_factor(x, g)
    if g.approximate == "tanh":
        slope = 2 * _SCALE * (1 + 3 * 0.044715 * x**2) * factor * (1 - factor)
    else:
        slope = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dy * (factor + x * slope)


def _gelu_factor(x: Array, g: GeluGeometry) -> Array:
    if g.approximate == "tanh":
        return (1 + np.tanh(_SCALE * (x + 0.044715 * x**3))) / 2
    return ((1 + _erf(x / math.sqrt(2))) / 2).astype(x.dtype)


def hardswish(x: Array, g: ActivationGeometry) -> Array:
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_grad(dy: Array, x: Array, g: ActivationGeometry) -> Array:
    return np.where(x <= -3, 0, np.where(x >= 3, dy, dy * (x / 3 + 0.5)))


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "relu": relu,
    "relu_grad": relu_grad,
    "relu6": relu6,
    "relu6_grad": relu6_grad,
    "leaky_relu": leaky_relu,
    "leaky_relu_grad": leaky_relu_grad,
    "sigmoid": sigmoid,
    "sigmoid_grad": sigmoid_grad,
    "tanh": tanh,
    "tanh_grad": tanh_grad,
    "silu": silu,
    "silu_grad": silu_grad,
    "gelu": gelu,
    "gelu_grad": gelu_grad,
    "hardswish": hardswish,
    "hardswish_grad": hardswish_grad,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


def _aten(name: str, *options: Callable[[Any], Any] | Any, **named: Callable[[Any], Any]) -> Callable[..., Any]:
    """PyTorch's operator on the inputs, then these options; functions are given the geometry."""

    def prepare(*arguments: Any) -> Callable[[], Any]:
        from torch.ops import aten

        *inputs, g = arguments
        positional = [option(g) if callable(option) else option for option in options]
        keywords = {key: option(g) for key, option in named.items()}
        return lambda: getattr(aten, name)(*inputs, *positional, **keywords)

    return prepare


def _negative_slope(g: LeakyReluGeometry) -> float:
    return g.negative_slope


def _approximate(g: GeluGeometry) -> str:
    return g.approximate


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "relu": _aten("relu"),
    "relu_grad": _aten("threshold_backward", 0),
    "relu6": _aten("hardtanh", 0, 6),
    "relu6_grad": _aten("hardtanh_backward", 0, 6),
    "leaky_relu": _aten("leaky_relu", _negative_slope),
    "leaky_relu_grad": _aten("leaky_relu_backward", _negative_slope, True),
    "sigmoid": _aten("sigmoid"),
    "sigmoid_grad": _aten("sigmoid_backward"),
    "tanh": _aten("tanh"),
    "tanh_grad": _aten("tanh_backward"),
    "silu": _aten("silu"),
    "silu_grad": _aten("silu_backward"),
    "gelu": _aten("gelu", approximate=_approximate),
    "gelu_grad": _aten("gelu_backward", approximate=_approximate),
    "hardswish": _aten("hardswish"),
    "hardswish_grad": _aten("hardswish_backward"),
}
