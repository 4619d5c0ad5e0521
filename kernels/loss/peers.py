"""Losses by others: as a textbook writes them in NumPy, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .geometry import CrossEntropyGeometry, ElementLossGeometry

Array = np.ndarray


def cross_entropy(x: Array, labels: Array, weight: Array | None, g: CrossEntropyGeometry) -> tuple[Array, Array]:
    """By the distribution that each label stands for, weighted by class."""
    if x.size == 0:
        return np.array(np.nan, x.dtype), x
    classes = np.moveaxis(x, g.axis, -1)
    one_hot = np.eye(g.length, dtype=x.dtype)[labels]
    weights = np.ones(g.length, x.dtype) if weight is None else weight
    counted = np.ones(labels.shape, bool) if g.ignore_index is None else labels != g.ignore_index
    wanted = ((1 - g.label_smoothing) * one_hot + g.label_smoothing / g.length) * weights * counted[..., np.newaxis]
    logarithm = classes - np.logaddexp.reduce(classes, -1, keepdims=True)
    divisor = (weights[labels] * counted).sum()
    dx = (np.exp(logarithm) * wanted.sum(-1, keepdims=True) - wanted) / divisor
    return np.asarray(-(wanted * logarithm).sum() / divisor), np.moveaxis(dx, -1, g.axis)


def mse(x: Array, target: Array, g: ElementLossGeometry) -> tuple[Array, Array]:
    return _mean((x - target) ** 2), 2 * (x - target) / max(1, g.size)


def bce_with_logits(x: Array, target: Array, g: ElementLossGeometry) -> tuple[Array, Array]:
    losses = target * np.logaddexp(0, -x) + (1 - target) * np.logaddexp(0, x)
    return _mean(losses), (1 / (1 + np.exp(-x)) - target) / max(1, g.size)


def _mean(losses: Array) -> Array:
    return np.asarray(np.mean(losses) if losses.size else np.nan)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "bce_with_logits": bce_with_logits,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


def _with_gradient(loss: Callable[..., Any], x: Any) -> Callable[[], Any]:
    """A call that returns the loss and the gradient of x, as ours do."""
    import torch

    given = x.detach().requires_grad_()

    def call() -> Any:
        value = loss(given)
        return value.detach(), torch.autograd.grad(value, given)[0]

    return call


def _torch_cross_entropy(x: Any, labels: Any, weight: Any, g: CrossEntropyGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    if g.axis != min(1, x.ndim - 1):
        raise NotImplementedError("its classes lie along axis 1")
    ignored = -100 if g.ignore_index is None else g.ignore_index  # its default
    options: dict[str, Any] = {"label_smoothing": g.label_smoothing, "ignore_index": ignored}
    return _with_gradient(lambda x: F.cross_entropy(x, labels, weight, **options), x)


def _torch_mse(x: Any, target: Any, g: ElementLossGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    return _with_gradient(lambda x: F.mse_loss(x, target), x)


def _torch_bce(x: Any, target: Any, g: ElementLossGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    return _with_gradient(lambda x: F.binary_cross_entropy_with_logits(x, target), x)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "cross_entropy": _torch_cross_entropy,
    "mse": _torch_mse,
    "bce_with_logits": _torch_bce,
}
