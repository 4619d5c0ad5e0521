"""Sums over arrays: of channels and columns for bias gradients, of everything to see whether it is finite."""

from __future__ import annotations

import numpy as np

from .blocks import over_blocks
from .compiled import allocating, compiled, regrouped

CHAIN = 4096  # elements that are added in their own precision; such sums are added in float64
ROWS = 32  # the same, of rows that are added element by element
WORTH = 3 << 20  # elements: fewer are not worth a second thread


def channel_sums(dy: np.ndarray) -> np.ndarray:
    """The sum of dy (N, K, ...) over all but K."""
    planes = dy.reshape(*dy.shape[:2], -1)
    sums = np.empty(planes.shape[1], dy.dtype)
    over_blocks(lambda low, high: _channel_sums(planes, sums, low, high), len(sums), dy.size // WORTH, dy.dtype)
    return sums


def is_finite(a: np.ndarray) -> bool:
    """Whether no element is infinite or NaN; of a sum that overflows it is not said either."""
    return bool(np.isfinite(line_sum(a.reshape(-1))))


@compiled
def _channel_sums(planes, sums, first, end):
    for k in range(first, end):
        total = 0.0
        for n in range(len(planes)):
            for i in range(0, planes.shape[2], CHAIN):
                total += line_sum(planes[n, k, i : i + CHAIN])
        sums[k] = total


@regrouped
def line_sum(line):
    total = line.dtype.type(0)
    for i in range(line.size):
        total += line[i]
    return total


@regrouped
def square_sum(line, centre):
    """Of the distances from the centre."""
    total = line.dtype.type(0)
    for i in range(line.size):
        total += (line[i] - centre) * (line[i] - centre)
    return total


@regrouped
def gradient_sums(gradient, line, centre):
    """The sum of gradients, and that of their products with the distances from the centre."""
    total, product = line.dtype.type(0), line.dtype.type(0)
    for i in range(line.size):
        total += gradient[i]
        product += gradient[i] * (line[i] - centre)
    return total, product


@allocating
def column_sums(a, sums):
    total, part = np.zeros(sums.size, np.float64), np.empty(sums.size, a.dtype)
    for first in range(0, len(a), ROWS):
        part[:] = 0
        for i in range(first, min(len(a), first + ROWS)):
            row = a[i]
            for j in range(row.size):
                part[j] += row[j]
        for j in range(part.size):
            total[j] += part[j]
    for j in range(sums.size):
        sums[j] = total[j]
