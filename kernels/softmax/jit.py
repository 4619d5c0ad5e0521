"""Softmax, its logarithm and their gradients, each row while it is in a cache; what is no float32 or float64 runs on
the plain page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..jit.compiled import allocating, compiled, suits
from ..jit.elementary import exp
from ..jit.elements import at
from ..jit.rows import ABREAST, add_line, block, dot, exponentials, exponentials_abreast, over_rows, row_sum
from . import cpu
from .geometry import SoftmaxGeometry

Loops = tuple[Callable[..., None], Callable[..., None]]


def softmax(x: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _computed((_softmax, _softmax_abreast), cpu.softmax, geometry, x)


def softmax_grad(dy: np.ndarray, y: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _computed((_softmax_grad, _softmax_grad_abreast), cpu.softmax_grad, geometry, dy, y)


def log_softmax(x: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _computed((_log_softmax, _log_softmax_abreast), cpu.log_softmax, geometry, x)


def log_softmax_grad(dy: np.ndarray, y: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _computed((_log_softmax_grad, _log_softmax_grad_abreast), cpu.log_softmax_grad, geometry, dy, y)


def _computed(loops: Loops, plain: Callable[..., np.ndarray], geometry: Any, *inputs: np.ndarray) -> np.ndarray:
    if not suits(*inputs):
        return plain(*inputs, geometry)
    result = np.empty(geometry.x_shape, inputs[0].dtype)
    over_rows(loops, (*inputs, result), geometry.axis)
    return result


@compiled
def _softmax(x, y, first, end):
    for r in range(first, end):
        _, total = exponentials(x[r], y[r])
        _multiply(y[r], type(total)(1) / total)


@allocating
def _softmax_abreast(x, y, first, end):
    tops, totals = np.empty(ABREAST, x.dtype), np.empty(ABREAST, x.dtype)
    for number in range(first, end):
        o, low, high = block(number, x.shape[2])
        size = high - low
        exponentials_abreast(x[o], y[o], low, tops[:size], totals[:size])
        for j in range(size):
            totals[j] = type(totals[j])(1) / totals[j]
        for k in range(x.shape[1]):
            _multiply(y[o, k, low:high], totals)


@compiled
def _multiply(line, factor):
    for j in range(line.size):
        line[j] *= at(factor, j)


@compiled
def _log_softmax(x, y, first, end):
    for r in range(first, end):
        top, total = exponentials(x[r], y[r])
        _subtract(x[r], top, np.log(total), y[r])


@allocating
def _log_softmax_abreast(x, y, first, end):
    tops, totals = np.empty(ABREAST, x.dtype), np.empty(ABREAST, x.dtype)
    for number in range(first, end):
        o, low, high = block(number, x.shape[2])
        size = high - low
        exponentials_abreast(x[o], y[o], low, tops[:size], totals[:size])
        totals[:size] = np.log(totals[:size])
        for k in range(x.shape[1]):
            _subtract(x[o, k, low:high], tops, totals, y[o, k, low:high])


@compiled
def _subtract(line, top, log_total, out):
    for j in range(line.size):
        out[j] = line[j] - at(top, j) - at(log_total, j)


@compiled
def _softmax_grad(dy, y, dx, first, end):
    for r in range(first, end):
        _of_softmax(dy[r], y[r], dot(dy[r], y[r]), dx[r])


@allocating
def _softmax_grad_abreast(dy, y, dx, first, end):
    sums = np.empty(ABREAST, dy.dtype)
    for number in range(first, end):
        o, low, high = block(number, dy.shape[2])
        sums[:] = 0
        for k in range(dy.shape[1]):
            gradient, line = dy[o, k, low:high], y[o, k, low:high]
            for j in range(line.size):
                sums[j] += gradient[j] * line[j]
        for k in range(dy.shape[1]):
            _of_softmax(dy[o, k, low:high], y[o, k, low:high], sums, dx[o, k, low:high])


@compiled
def _of_softmax(gradient, line, total, out):
    for j in range(line.size):
        out[j] = line[j] * (gradient[j] - at(total, j))


@compiled
def _log_softmax_grad(dy, y, dx, first, end):
    for r in range(first, end):
        _of_log_softmax(dy[r], y[r], row_sum(dy[r]), dx[r])


@allocating
def _log_softmax_grad_abreast(dy, y, dx, first, end):
    sums = np.empty(ABREAST, dy.dtype)
    for number in range(first, end):
        o, low, high = block(number, dy.shape[2])
        sums[:] = 0
        for k in range(dy.shape[1]):
            add_line(dy[o, k, low:high], sums)
        for k in range(dy.shape[1]):
            _of_log_softmax(dy[o, k, low:high], y[o, k, low:high], sums, dx[o, k, low:high])


@compiled
def _of_log_softmax(gradient, line, total, out):
    for j in range(line.size):
        out[j] = gradient[j] - exp(line[j]) * at(total, j)
