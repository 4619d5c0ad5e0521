"""How far a layer's gradients are from central finite differences in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..backend import asarray, to_numpy
from ..layers import Layer
from .step import own_parameters

DIRECTIONS = 16
_STEPS = [2.0**-k for k in range(1, 19)]
_ORDERS = 6
"""How often an estimate is extrapolated."""
_ROUNDINGS = 4
"""Of an output's element, relative to itself: a mean, a difference, a scale and the product with dy."""
_EPS = float(np.finfo(float).eps)


class Measured(NamedTuple):
    """disagreement: |measured - predicted| / |gradient|. uncertainty: how far the measurement itself may be off, on the
    same scale."""

    disagreement: float
    uncertainty: float


def disagreements(layer: Layer, x_shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, Measured]]:
    """For "input" and each parameter the worst of DIRECTIONS directions.

    A direction d has an element of +1 or -1 for each of the gradient g; the prediction of backward for the change of
    sum(dy * y) along d is sum(g * d), which is about as large as the 2-norm |g|. The layer, in float64, is measured on
    an input of distinct values, so that no max is a tie and no ReLU stands at 0. Copies are run, so that a mask is the
    same each time. Parameters of layers in this one are passed over.
    """
    x = asarray(_distinct(x_shape, rng))
    done = copy.deepcopy(layer)
    dy = asarray(rng.standard_normal(done(x).shape))
    done.zero_grad()
    dx = done.backward(dy)

    def loss_of_input(moved: Any) -> tuple[float, float]:
        return _loss(dy, copy.deepcopy(layer)(moved))

    yield "input", _worst(loss_of_input, to_numpy(x), to_numpy(dx), rng)
    for name, parameter in own_parameters(done).items():

        def loss_of_parameter(moved: Any, name: str = name) -> tuple[float, float]:
            other = copy.deepcopy(layer)
            getattr(other, name).data = moved
            return _loss(dy, other(x))

        yield name, _worst(loss_of_parameter, to_numpy(parameter.data), to_numpy(parameter.grad), rng)


def _distinct(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random arrangement of values from -2 to 2, about equally spaced, none nearer to 0 than a fifth of the spacing,
    and none likely to be the mean of others, which a normalisation would make 0."""
    size = math.prod(shape)
    return (4 * (rng.permutation(size) + rng.uniform(0.2, 0.3, size)) / max(size, 1) - 2).reshape(shape)


def _loss(dy: Any, y: Any) -> tuple[float, float]:
    """sum(dy * y), and the sum of the magnitudes, by which its rounding is judged."""
    products = dy * y
    return float(products.sum()), float(abs(products).sum())


def _worst(
    loss: Callable[[Any], tuple[float, float]], at: np.ndarray, gradient: np.ndarray, rng: np.random.Generator
) -> Measured:
    errors, uncertainties = [], []
    for _ in range(DIRECTIONS):
        direction = rng.choice([-1.0, 1.0], at.shape)
        derivative, uncertainty = _along(loss, at, direction)
        errors.append(abs(derivative - float((gradient * direction).sum())))
        uncertainties.append(uncertainty)
    norm = float(np.linalg.norm(gradient))
    scale = norm if norm > 0 else 1.0  # of a gradient with NaN too
    return Measured(float(np.max(errors)) / scale, max(uncertainties) / scale)  # a NaN among the errors stays


def _along(loss: Callable[[Any], tuple[float, float]], at: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
    """The derivative of `loss` along `direction`, by central differences with halved steps, and how far it may be off.

    A loss that is affine, as long as no maximum changes hands, has no truncation error at a large step, and little
    rounding: second differences tell. Others are extrapolated to the step 0 (Ridders, Accurate computation of F'(x) and
    F'(x) F''(x), 1982): what the last two estimates hardly differ in is taken. Where estimates do not come closer to
    each other with the step, there are kinks at every step: then the finest, off by as much as they move. NaN, off by
    infinity, where no two estimates are numbers.
    """
    middle, _ = loss(asarray(at))
    found, least = math.nan, math.inf
    extrapolated: list[float] = []
    plain: list[float] = []
    for step in _STEPS:
        (above, size), (below, _) = loss(asarray(at + step * direction)), loss(asarray(at - step * direction))
        rounding = _ROUNDINGS * _EPS * size / step
        estimates = [(above - below) / (2 * step)]
        if abs(above + below - 2 * middle) <= 1e-14 * size:
            return estimates[0], rounding
        for order, coarser in enumerate(extrapolated[:_ORDERS], 1):
            finer = estimates[-1]
            estimates.append(finer + (finer - coarser) / (4**order - 1))
            error = max(abs(estimates[-1] - finer), abs(estimates[-1] - coarser)) + rounding
            if error < least:
                found, least = estimates[-1], error
        extrapolated = estimates
        plain.append(estimates[0])
    moves = [abs(finer - coarser) for coarser, finer in pairwise(plain[-4:])]
    if any(later > earlier / 2 + 2 * rounding for earlier, later in pairwise(moves)):
        return plain[-1], 4 * max(moves) + rounding
    return found, least
