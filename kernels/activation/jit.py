"""Activations and their gradients in one pass; what is no float32 or float64 runs on the plain page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..jit.compiled import compiled, suits
from ..jit.elementary import erfc, falling_exp, sigmoids
from ..jit.elementary import tanh as tanh_of
from ..jit.elements import over_elements
from . import cpu
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry

_SLOPE, _CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715
_SQRT_HALF, _DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


def relu(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_relu, cpu.relu, geometry, x)


def relu_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_relu_grad, cpu.relu_grad, geometry, dy, y)


def relu6(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_relu6, cpu.relu6, geometry, x)


def relu6_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_relu6_grad, cpu.relu6_grad, geometry, dy, y)


def leaky_relu(x: np.ndarray, geometry: LeakyReluGeometry) -> np.ndarray:
    return _computed(_leaky_relu, cpu.leaky_relu, geometry, x, slope=geometry.negative_slope)


def leaky_relu_grad(dy: np.ndarray, y: np.ndarray, geometry: LeakyReluGeometry) -> np.ndarray:
    return _computed(_leaky_relu_grad, cpu.leaky_relu_grad, geometry, dy, y, slope=geometry.negative_slope)


def sigmoid(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_sigmoid, cpu.sigmoid, geometry, x)


def sigmoid_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_sigmoid_grad, cpu.sigmoid_grad, geometry, dy, y)


def tanh(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_tanh, cpu.tanh, geometry, x)


def tanh_grad(dy: np.ndarray, y: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_tanh_grad, cpu.tanh_grad, geometry, dy, y)


def silu(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_silu, cpu.silu, geometry, x)


def silu_grad(dy: np.ndarray, x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_silu_grad, cpu.silu_grad, geometry, dy, x)


def gelu(x: np.ndarray, geometry: GeluGeometry) -> np.ndarray:
    loop = _gelu_by_tanh if geometry.approximate == "tanh" else _gelu
    return _computed(loop, cpu.gelu, geometry, x)


def gelu_grad(dy: np.ndarray, x: np.ndarray, geometry: GeluGeometry) -> np.ndarray:
    loop = _gelu_by_tanh_grad if geometry.approximate == "tanh" else _gelu_grad
    return _computed(loop, cpu.gelu_grad, geometry, dy, x)


def hardswish(x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_hardswish, cpu.hardswish, geometry, x)


def hardswish_grad(dy: np.ndarray, x: np.ndarray, geometry: ActivationGeometry) -> np.ndarray:
    return _computed(_hardswish_grad, cpu.hardswish_grad, geometry, dy, x)


def _computed(
    loop: Callable[..., None], plain: Callable[..., np.ndarray], geometry: Any, *inputs: np.ndarray, **numbers: float
) -> np.ndarray:
    if not suits(*inputs):
        return plain(*inputs, geometry)
    result = np.empty(geometry.x_shape, inputs[0].dtype)
    over_elements(loop, inputs, result, *map(result.dtype.type, numbers.values()))
    return result


@compiled
def _relu(x, y):
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@compiled
def _relu_grad(dy, y, dx):
    for i in range(dy.size):
        dx[i] = 0 if y[i] <= 0 else dy[i]


@compiled
def _relu6(x, y):
    for i in range(x.size):
        y[i] = 0 if x[i] <= 0 else 6 if x[i] >= 6 else x[i]


@compiled
def _relu6_grad(dy, y, dx):
    for i in range(dy.size):
        dx[i] = 0 if (y[i] <= 0) | (y[i] >= 6) else dy[i]


@compiled
def _leaky_relu(x, y, slope):
    for i in range(x.size):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@compiled
def _leaky_relu_grad(dy, y, dx, slope):
    for i in range(dy.size):
        dx[i] = dy[i] if y[i] > 0 else dy[i] * slope


@compiled
def _sigmoid(x, y):
    for i in range(x.size):
        y[i], _ = sigmoids(x[i])


@compiled
def _sigmoid_grad(dy, y, dx):
    one = y.dtype.type(1)
    for i in range(dy.size):
        dx[i] = dy[i] * (y[i] * (one - y[i]))


@compiled
def _tanh(x, y):
    for i in range(x.size):
        y[i] = tanh_of(x[i])


@compiled
def _tanh_grad(dy, y, dx):
    one = y.dtype.type(1)
    for i in range(dy.size):
        dx[i] = dy[i] * ((one - y[i]) * (one + y[i]))


@compiled
def _silu(x, y):
    for i in range(x.size):
        s, _ = sigmoids(x[i])
        y[i] = x[i] * s


@compiled
def _silu_grad(dy, x, dx):
    one = x.dtype.type(1)
    for i in range(dy.size):
        s, rest = sigmoids(x[i])
        dx[i] = dy[i] * (s * (one + x[i] * rest))


@compiled
def _normal(x):
    """The normal distribution function; by erfc, since 1 + erf cancels where x < 0."""
    return erfc(x * type(x)(-_SQRT_HALF)) * type(x)(0.5)


@compiled
def _gelu(x, y):
    for i in range(x.size):
        y[i] = x[i] * _normal(x[i])


@compiled
def _gelu_grad(dy, x, dx):
    density, half = x.dtype.type(_DENSITY), x.dtype.type(-0.5)
    for i in range(dy.size):
        dx[i] = dy[i] * (_normal(x[i]) + x[i] * (density * falling_exp(x[i] * x[i] * half)))


@compiled
def _inner(x):
    """As the plain page's: twice what the tanh of GELU is taken of, and its derivative."""
    slope, cubic, one = type(x)(_SLOPE), type(x)(_CUBIC), type(x)(1)
    square = x * x
    square = type(x)(1e4) if square > type(x)(1e4) else square
    return slope * x * (one + cubic * square), slope * (one + type(x)(3) * cubic * square)


@compiled
def _gelu_by_tanh(x, y):
    for i in range(x.size):
        s, _ = sigmoids(_inner(x[i])[0])
        y[i] = x[i] * s


@compiled
def _gelu_by_tanh_grad(dy, x, dx):
    for i in range(dy.size):
        inner, slope = _inner(x[i])
        s, rest = sigmoids(inner)
        dx[i] = dy[i] * (s + x[i] * s * rest * slope)


@compiled
def _hardswish(x, y):
    zero, three, six = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6)
    for i in range(x.size):
        z = x[i] + three
        z = zero if z <= zero else six if z >= six else z
        y[i] = x[i] * (z / six)


@compiled
def _hardswish_grad(dy, x, dx):
    half, three = x.dtype.type(0.5), x.dtype.type(3)
    for i in range(dy.size):
        inside = dy[i] * (x[i] / three + half)
        dx[i] = 0 if x[i] <= -three else inside if x[i] < three else dy[i]
