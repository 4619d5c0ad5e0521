"""Losses with their gradients in plain NumPy. Other paths are judged by it.

16-bit is computed in float32; the loss stays so and the gradient is rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from ...backend import quietly
from ..dtypes import accumulation_dtype
from .geometry import CrossEntropyGeometry, ElementLossGeometry


@quietly
def cross_entropy(
    x: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, geometry: CrossEntropyGeometry
) -> tuple[np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    labels = np.expand_dims(labels, g.axis)
    valid = (labels >= 0) & (labels < g.length)
    counted = np.ones(labels.shape, bool) if g.ignore_index is None else labels != g.ignore_index
    labels = np.where(valid, labels, 0)
    along = [1] * x.ndim
    along[g.axis] = g.length
    weights = (np.ones(g.length, acc) if weight is None else weight.astype(acc)).reshape(along)

    z = np.array(x, acc, order="C")
    z -= z.max(axis=g.axis, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=g.axis, keepdims=True)
    log_total = np.log(total)
    chosen = weights.reshape(-1)[labels]
    divisor = np.where(counted, np.where(valid, chosen, 1), 0).sum(dtype=acc)
    scale = 1 / divisor
    share = acc.type(g.label_smoothing / g.length)
    chosen = chosen * acc.type(1 - g.label_smoothing)
    losses = chosen * (log_total - np.take_along_axis(z, labels, g.axis))
    if g.label_smoothing:
        losses += share * (weights * (log_total - z)).sum(axis=g.axis, keepdims=True)

    dx = e
    dx *= (chosen + share * weights.sum()) / total
    if g.label_smoothing:
        dx -= share * weights
    np.put_along_axis(dx, labels, np.take_along_axis(dx, labels, g.axis) - chosen, g.axis)
    dx *= scale
    for result in (losses, dx):
        np.copyto(result, math.nan, where=~valid)
        np.copyto(result, 0, where=~counted)
    return np.asarray(losses.sum() * scale), np.ascontiguousarray(dx.astype(x.dtype, copy=False))


@quietly
def mse(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    acc = accumulation_dtype(x.dtype)
    difference = np.subtract(x, target, dtype=acc, order="C")
    return _mean(np.square(difference), acc), _scaled(2 * difference, x.dtype)


@quietly
def bce_with_logits(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    acc, dtype = accumulation_dtype(x.dtype), x.dtype
    x, target = np.array(x, acc, order="C"), np.array(target, acc, order="C")
    e = np.exp(-np.abs(x))
    losses = np.maximum(x, 0) - x * target + np.log1p(e)
    return _mean(losses, acc), _scaled(np.where(x >= 0, 1, e) / (1 + e) - target, dtype)


def _mean(losses: np.ndarray, acc: np.dtype) -> np.ndarray:
    """That of nothing is NaN."""
    return np.asarray(losses.sum(dtype=acc) / acc.type(losses.size), acc)


def _scaled(gradient: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.asarray(gradient / max(1, gradient.size), order="C").astype(dtype, copy=False)
