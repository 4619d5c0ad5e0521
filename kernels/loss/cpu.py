"""Losses with their gradients in plain NumPy. Other paths are judged by it.

16-bit is computed in float32; the loss stays so and the gradient is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...backend import quietly
from ..cpu.pieces import PIECE, cut, whole
from ..dtypes import accumulation_dtype
from .geometry import CrossEntropyGeometry, ElementLossGeometry


@quietly
def cross_entropy(
    x: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, geometry: CrossEntropyGeometry
) -> tuple[np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    weights = np.ones(g.length, acc) if weight is None else weight.astype(acc)
    losses, dx = np.empty(g.labels_shape, acc), np.empty(g.x_shape, x.dtype)
    valid = (labels >= 0) & (labels < g.length)
    counted = np.ones(labels.shape, bool) if g.ignore_index is None else labels != g.ignore_index
    labels = np.where(valid, labels, 0)
    scale = 1 / np.where(counted, np.where(valid, weights[labels], 1), 0).sum(dtype=acc)
    for of_x, of_labels in _samples(g):
        losses[of_labels], dx[of_x] = _sums_and_gradients(x[of_x], labels[of_labels], weights, scale, g)
    for result in (losses, np.moveaxis(dx, g.axis, 0)):
        np.copyto(result, math.nan, where=~valid)
        np.copyto(result, 0, where=~counted)
    return np.asarray(losses.sum() * scale), dx


def _samples(g: CrossEntropyGeometry) -> Iterator[tuple[Any, Any]]:
    """Indices into x and labels of some samples at a time, which are cut along their first axis."""
    along = 0 if g.axis else 1
    if along == len(g.x_shape):
        yield ..., ...
        return
    extent = g.x_shape[along]
    step = max(1, PIECE * extent // max(1, math.prod(g.x_shape)))
    for first in range(0, extent, step):
        part = slice(first, first + step)
        yield (slice(None),) * along + (part,), part


def _sums_and_gradients(
    x: np.ndarray, labels: np.ndarray, weights: np.ndarray, scale: Any, g: CrossEntropyGeometry
) -> tuple[np.ndarray, np.ndarray]:
    """The samples' losses before they are scaled, and dx."""
    acc = weights.dtype
    labels = np.expand_dims(labels, g.axis)
    along = [1] * x.ndim
    along[g.axis] = g.length
    of_classes = weights.reshape(along)
    z = np.array(x, acc, order="C")
    z -= z.max(axis=g.axis, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=g.axis, keepdims=True)
    log_total = np.log(total)
    share = acc.type(g.label_smoothing / g.length)
    chosen = weights[labels] * acc.type(1 - g.label_smoothing)
    losses = chosen * (log_total - np.take_along_axis(z, labels, g.axis))
    if g.label_smoothing:
        losses += share * (of_classes * (log_total - z)).sum(axis=g.axis, keepdims=True)

    dx = e
    dx *= (chosen + share * weights.sum()) / total
    if g.label_smoothing:
        dx -= share * of_classes
    np.put_along_axis(dx, labels, np.take_along_axis(dx, labels, g.axis) - chosen, g.axis)
    dx *= scale
    return losses.squeeze(g.axis), dx


@quietly
def mse(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    def of_elements(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference = x - target
        return np.square(difference), 2 * difference

    return _mean(of_elements, x, target)


@quietly
def bce_with_logits(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    def of_elements(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e = np.exp(-np.abs(x))
        return np.maximum(x, 0) - x * target + np.log1p(e), np.where(x >= 0, 1, e) / (1 + e) - target

    return _mean(of_elements, x, target)


def _mean(
    of_elements: Callable[..., tuple[np.ndarray, np.ndarray]], x: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the elements' losses, and its gradient; that of nothing is NaN."""
    acc, dx, sums = accumulation_dtype(x.dtype), np.empty(x.shape, x.dtype), []
    for part in cut(whole(*x.shape), PIECE):
        here: Any = (..., *part)
        losses, gradient = of_elements(*(np.array(a[here], acc, order="C") for a in (x, target)))
        dx[here] = gradient / x.size
        sums.append(losses.sum(dtype=acc))
    return np.asarray(np.array(sums, acc).sum() / acc.type(x.size), acc), dx
