"""Losses with their gradients in one pass; what is no float32 or float64 runs on the plain page."""

from __future__ import annotations

import math

import numpy as np

from ...backend import quietly
from ..jit.compiled import allocating, compiled, contiguous, regrouped, suits
from ..jit.elementary import falling_exp, log1p
from ..jit.elements import sum_over_elements
from ..jit.rows import ABREAST, block, exponentials, exponentials_abreast, over_rows
from . import cpu
from .geometry import CrossEntropyGeometry, ElementLossGeometry


@quietly
def cross_entropy(
    x: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, geometry: CrossEntropyGeometry
) -> tuple[np.ndarray, np.ndarray]:
    g, number = geometry, x.dtype.type
    if not suits(x, weight):
        return cpu.cross_entropy(x, labels, weight, g)
    weights = np.ones(g.length, x.dtype) if weight is None else contiguous(weight)[0]
    ignored = g.length if g.ignore_index is None else g.ignore_index  # no label is as large
    dx, losses = np.empty(g.x_shape, x.dtype), np.empty(g.labels_shape, x.dtype)
    scale = number(1) / number(_divisor(contiguous(labels)[0].reshape(-1), weights, ignored))
    smoothing = number(1 - g.label_smoothing), number(g.label_smoothing / g.length)
    loops = _cross_entropy, _cross_entropy_abreast
    over_rows(loops, (x, dx), g.axis, (labels, losses), weights, weights.sum(), *smoothing, scale, ignored)
    return np.asarray(losses.sum() * scale), dx


@quietly
def mse(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    if not suits(x, target):
        return cpu.mse(x, target, geometry)
    dx = np.empty(geometry.x_shape, x.dtype)
    total = sum_over_elements(_mse, (x, target), dx, x.dtype.type(geometry.size))
    return np.asarray(total / geometry.size, x.dtype), dx


@quietly
def bce_with_logits(x: np.ndarray, target: np.ndarray, geometry: ElementLossGeometry) -> tuple[np.ndarray, np.ndarray]:
    if not suits(x, target):
        return cpu.bce_with_logits(x, target, geometry)
    dx = np.empty(geometry.x_shape, x.dtype)
    total = sum_over_elements(_bce, (x, target), dx, x.dtype.type(geometry.size))
    return np.asarray(total / geometry.size, x.dtype), dx


@compiled
def _divisor(labels, weights, ignored):
    """The weights of all labels that count; a label out of range counts as 1."""
    total = 0.0
    for label in labels:
        if label != ignored:
            total += weights[label] if 0 <= label < weights.size else 1
    return total


@compiled
def _cross_entropy(x, dx, labels, losses, weights, every, own, share, scale, ignored, first, end):
    """own, share: what the label and each class weigh; every: the sum of the weights."""
    for r in range(first, end):
        row, out, label = x[r], dx[r], labels[r]
        if label == ignored:
            out[:], losses[r] = 0, 0
        elif not 0 <= label < row.size:
            out[:], losses[r] = math.nan, math.nan
        else:
            top, total = exponentials(row, out)
            log_total, chosen = np.log(total), weights[label] * own
            losses[r] = chosen * (log_total - (row[label] - top))
            factor = (chosen + share * every) / total
            if share != 0:
                losses[r] += share * (every * log_total - _distances(row, weights, top))
                _less(out, factor, weights, share, scale)
                out[label] -= chosen * scale
            else:
                at_label = (out[label] * factor - chosen) * scale
                _scale(out, factor * scale)
                out[label] = at_label


@compiled
def _less(out, factor, weights, share, scale):
    for c in range(out.size):
        out[c] = (out[c] * factor - share * weights[c]) * scale


@compiled
def _scale(line, factor):
    for c in range(line.size):
        line[c] *= factor


@regrouped
def _distances(row, weights, top):
    total = 0.0
    for c in range(row.size):
        total += weights[c] * (row[c] - top)
    return row.dtype.type(total)


@allocating
def _cross_entropy_abreast(x, dx, labels, losses, weights, every, own, share, scale, ignored, first, end):
    """As _cross_entropy."""
    dtype = x.dtype
    tops, totals, factors = np.empty(ABREAST, dtype), np.empty(ABREAST, dtype), np.empty(ABREAST, dtype)
    for number in range(first, end):
        o, low, high = block(number, x.shape[2])
        size = high - low
        exponentials_abreast(x[o], dx[o], low, tops[:size], totals[:size])
        label, loss, log_totals = labels[o, low:high], losses[o, low:high], np.log(totals[:size])
        for j in range(size):
            inside = 0 <= label[j] < x.shape[1]
            chosen = weights[label[j]] * own if inside else dtype.type(math.nan)
            loss[j] = chosen * (log_totals[j] - (x[o, label[j], low + j] - tops[j])) if inside else chosen
            factors[j] = (chosen + share * every) / totals[j]
        for k in range(x.shape[1]):
            line, out, less = x[o, k, low:high], dx[o, k, low:high], share * weights[k]
            for j in range(size):
                out[j] = (out[j] * factors[j] - less) * scale
            if share != 0:
                for j in range(size):
                    loss[j] += less * (log_totals[j] - (line[j] - tops[j]))
        for j in range(size):
            if label[j] == ignored:
                loss[j], dx[o, :, low + j] = 0, 0
            elif 0 <= label[j] < x.shape[1]:
                dx[o, label[j], low + j] -= weights[label[j]] * own * scale


@regrouped
def _mse(x, target, dx, size):
    total, two = 0.0, x.dtype.type(2)
    for i in range(x.size):
        difference = x[i] - target[i]
        dx[i] = two * difference / size
        total += np.float64(difference) * np.float64(difference)
    return total


@regrouped
def _bce(x, target, dx, size):
    total, zero, one = 0.0, x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        e = falling_exp(-abs(x[i]))
        larger = x[i] if x[i] > zero else zero
        dx[i] = ((one if x[i] >= zero else e) / (one + e) - target[i]) / size
        total += larger - x[i] * target[i] + log1p(e)
    return total
