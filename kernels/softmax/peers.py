"""Softmax by others: as a textbook writes it in NumPy, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .geometry import SoftmaxGeometry

Array = np.ndarray


def softmax(x: Array, g: SoftmaxGeometry) -> Array:
    return np.exp(log_softmax(x, g))


def softmax_grad(dy: Array, y: Array, g: SoftmaxGeometry) -> Array:
    return y * dy - y * (y * dy).sum(g.axis, keepdims=True)


def log_softmax(x: Array, g: SoftmaxGeometry) -> Array:
    return x - np.logaddexp.reduce(x, g.axis, keepdims=True)


def log_softmax_grad(dy: Array, y: Array, g: SoftmaxGeometry) -> Array:
    return dy - np.exp(y) * dy.sum(g.axis, keepdims=True)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "softmax": softmax,
    "softmax_grad": softmax_grad,
    "log_softmax": log_softmax,
    "log_softmax_grad": log_softmax_grad,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


def _forward(name: str) -> Callable[..., Callable[[], Any]]:
    def prepare(x: Any, g: SoftmaxGeometry) -> Callable[[], Any]:
        from torch.nn import functional as F

        return lambda: getattr(F, name)(x, g.axis)

    return prepare


def _gradient(name: str) -> Callable[..., Callable[[], Any]]:
    def prepare(dy: Any, y: Any, g: SoftmaxGeometry) -> Callable[[], Any]:
        from torch.ops import aten

        return lambda: getattr(aten, name)(dy, y, g.axis, y.dtype)

    return prepare


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "softmax": _forward("softmax"),
    "softmax_grad": _gradient("_softmax_backward_data"),
    "log_softmax": _forward("log_softmax"),
    "log_softmax_grad": _gradient("_log_softmax_backward_data"),
}
