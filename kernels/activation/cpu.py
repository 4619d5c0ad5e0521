"""Activations and their gradients in plain NumPy. Other paths are judged by it.

16-bit elements are computed with in float32 and rounded once, but for the ReLUs, which only choose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import quietly
from ..cpu import threads
from ..cpu.erf import erfc
from ..cpu.pieces import PIECES, cut, whole
from ..cpu.rectified import rectified
from ..dtypes import accumulation_dtype
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry

LEAST, MOST = 1 << 14, 1 << 16  # elements of a piece of work: a function's several temporaries stay in cache
_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715
_SQRT_HALF, _DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


def relu(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return rectified(x)


@quietly
def relu_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _where(~(y <= 0), dy)


@quietly
def relu6(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return np.asarray(np.minimum(np.maximum(x, 0), 6, order="C"))


@quietly
def relu6_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _where(~((y <= 0) | (y >= 6)), dy)


def leaky_relu(x: np.ndarray, geometry: LeakyReluGeometry) -> np.ndarray:
    return _computed(lambda x: np.where(x > 0, x, x * geometry.negative_slope), x)


def leaky_relu_grad(dy: np.ndarray, y: np.ndarray, geometry: LeakyReluGeometry) -> np.ndarray:
    return _computed(lambda dy, y: np.where(y > 0, dy, dy * geometry.negative_slope), dy, y)


def sigmoid(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(lambda x: _sigmoids(x)[0], x)


def sigmoid_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(lambda dy, y: dy * (y * (1 - y)), dy, y)


def tanh(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(np.tanh, x)


def tanh_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(lambda dy, y: dy * ((1 - y) * (1 + y)), dy, y)


def silu(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(lambda x: x * _sigmoids(x)[0], x)


def silu_grad(dy: np.ndarray, x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    def gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        s, rest = _sigmoids(x)
        return dy * (s * (1 + x * rest))

    return _computed(gradient, dy, x)


def gelu(x: np.ndarray, geometry: GeluGeometry) -> np.ndarray:
    if geometry.approximate == "tanh":
        return _computed(lambda x: x * _sigmoids(_inner(x)[0])[0], x)
    return _computed(lambda x: x * _normal(x), x)


def gelu_grad(dy: np.ndarray, x: np.ndarray, geometry: GeluGeometry) -> np.ndarray:
    def gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return dy * (_normal(x) + x * (_DENSITY * np.exp(x * x * -0.5)))

    def approximate(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        inner, slope = _inner(x)
        s, rest = _sigmoids(inner)
        return dy * (s + x * s * rest * slope)

    return _computed(approximate if geometry.approximate == "tanh" else gradient, dy, x)


def hardswish(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(lambda x: x * (np.minimum(np.maximum(x + 3, 0), 6) / 6), x)


def hardswish_grad(dy: np.ndarray, x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    def gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.where(x <= -3, 0, np.where(x < 3, dy * (x / 3 + 0.5), dy))

    return _computed(gradient, dy, x)


def _sigmoids(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sigmoid(x) and sigmoid(-x), neither of which overflows or cancels."""
    e = np.exp(-np.abs(x))
    larger = 1 / (1 + e)
    smaller = e * larger
    return np.where(x >= 0, larger, smaller), np.where(x >= 0, smaller, larger)


def _normal(x: np.ndarray) -> np.ndarray:
    """The normal distribution function; by erfc, since 1 + erf cancels where x < 0."""
    return erfc(x * -_SQRT_HALF) * 0.5


def _inner(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twice what the tanh of GELU is taken of, since (1 + tanh(u))/2 = sigmoid(2u), and its derivative.

    Where x² is cut off the sigmoid has long been 0 or 1, and an infinite derivative would make it NaN.
    """
    square = np.minimum(x * x, 1e4)
    return 2 * _SLOPE * x * (1 + _CUBIC * square), 2 * _SLOPE * (1 + 3 * _CUBIC * square)


def _where(chosen: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy or 0. Times 0 as integers, infinities and NaN become 0 as well; np.where is slower."""
    bits = np.multiply(dy.view(f"u{dy.dtype.itemsize}"), chosen, order="C")
    return np.asarray(bits).view(dy.dtype)


def _computed(compute: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """compute of the elements, 16-bit ones in float32."""
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    acc = accumulation_dtype(result.dtype)

    def work(*box: slice) -> None:
        here: Any = (..., *box)
        result[here] = compute(*(a[here].astype(acc, copy=False) for a in arrays))

    most = min(MOST, max(LEAST, result.size // PIECES))
    threads.run(work, list(cut(whole(*result.shape), most)), 12 * MOST * acc.itemsize, alone=True)
    return result
