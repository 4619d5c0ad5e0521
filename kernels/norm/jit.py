"""Normalisation and its gradients on compiled loops; what is no float32 or float64 runs on the plain page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import quietly
from ..jit.blocks import over_blocks
from ..jit.compiled import contiguous, suits
from ..jit.epilogue import kink_of
from . import channel_loops, cpu, row_loops
from .geometry import BatchNormGeometry, RowNormGeometry
from .pixels import by_pixels

Optional = np.ndarray | None

WORTH = 1 << 19  # elements: fewer are not worth a second thread
PART = 1 << 17  # elements
PARTS = 32  # of rows, whose gradients of gamma and beta are added in order
KEPT = 1 << 20  # elements of gradients of gamma and beta, of all parts of a call


@by_pixels
def batch_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, residual: Optional, geometry: BatchNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not suits(x):
        return cpu.batch_norm(x, gamma, beta, residual, geometry)
    mean, var = np.empty((2, geometry.C), x.dtype)
    return _forward(x, gamma, beta, mean, var, residual, geometry, of_batch=True), mean, var


@by_pixels
def batch_norm_inference(
    x: np.ndarray,
    gamma: Optional,
    beta: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    residual: Optional,
    geometry: BatchNormGeometry,
) -> np.ndarray:
    if not suits(x):
        return cpu.batch_norm_inference(x, gamma, beta, mean, var, residual, geometry)
    mean, var = contiguous(mean, var)
    return _forward(x, gamma, beta, mean, var, residual, geometry, of_batch=False)


@by_pixels
def batch_norm_grads(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    beta: Optional,
    y: Optional,
    geometry: BatchNormGeometry,
) -> tuple[np.ndarray, ...]:
    if not suits(x):
        return cpu.batch_norm_grads(dy, x, gamma, mean, var, beta, y, geometry)
    return _backward(dy, x, gamma, mean, var, y, geometry, of_batch=True)


@by_pixels
def batch_norm_inference_grads(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    beta: Optional,
    y: Optional,
    geometry: BatchNormGeometry,
) -> tuple[np.ndarray, ...]:
    if not suits(x):
        return cpu.batch_norm_inference_grads(dy, x, gamma, mean, var, beta, y, geometry)
    return _backward(dy, x, gamma, mean, var, y, geometry, of_batch=False)


def _forward(
    x: np.ndarray,
    gamma: Optional,
    beta: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    residual: Optional,
    g: BatchNormGeometry,
    of_batch: bool,
) -> np.ndarray:
    y = np.empty(g.x_shape, x.dtype)
    gamma, beta = _parameter(gamma, 1, g, x.dtype), _parameter(beta, 0, g, x.dtype)
    options = of_batch, residual is not None, kink_of(g.activation, x.dtype)
    given = x, x if residual is None else residual
    loop = channel_loops.forward_lines if _is_long(g) else channel_loops.forward_columns
    _over_channels(loop, given, (y,), (mean, var, gamma, beta), options, g)
    return y


def _backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    y: Optional,
    g: BatchNormGeometry,
    of_batch: bool,
) -> tuple[np.ndarray, ...]:
    dx, (dgamma, dbeta) = np.empty(g.x_shape, x.dtype), np.empty((2, g.C), x.dtype)
    dresidual = np.empty(g.x_shape, x.dtype) if g.residual else dx
    of_channels = *contiguous(mean, var), _parameter(gamma, 1, g, x.dtype), dgamma, dbeta
    options = of_batch, g.residual, kink_of(g.activation, x.dtype)
    given = dy, x, dy if y is None else y
    loop = channel_loops.backward_lines if _is_long(g) else channel_loops.backward_columns
    _over_channels(loop, given, (dx, dresidual), of_channels, options, g)
    return (dx, dgamma, dbeta, dresidual) if g.residual else (dx, dgamma, dbeta)


def _parameter(given: Optional, default: int, g: BatchNormGeometry, dtype: np.dtype) -> np.ndarray:
    return np.full(g.C, default, dtype) if given is None else contiguous(given)[0]


def _over_channels(
    loop: Callable[..., None],
    inputs: tuple[np.ndarray, ...],
    outputs: tuple[np.ndarray, ...],
    of_channels: tuple[np.ndarray, ...],
    options: tuple[Any, ...],
    g: BatchNormGeometry,
) -> None:
    """The loop on spans of neighbouring channels; of inputs with gaps it gets copies, part by part."""
    x, shape = inputs[0], (g.N, -1, g.plane)
    others = *[a.reshape(shape) for a in outputs], *of_channels, x.dtype.type(g.eps)
    every = max(1, PART // g.count)
    if all(map(_is_whole, inputs)):
        read = [a.reshape(shape) for a in contiguous(*inputs)]

        def work(low: int, high: int) -> None:
            first, end = low * every, min(g.C, high * every)
            loop(*read, *others, first, first, end - first, *options)

    else:

        def work(low: int, high: int) -> None:
            for first in range(low * every, min(g.C, high * every), every):
                channels = slice(first, min(g.C, first + every))
                copies = [a.reshape(shape) for a in contiguous(*(a[:, channels] for a in inputs))]
                loop(*copies, *others, 0, first, copies[0].shape[1], *options)

    over_blocks(work, -(-g.C // every), x.size // WORTH, x.dtype)


def _is_long(g: BatchNormGeometry) -> bool:
    return g.plane >= channel_loops.LONG


def _is_whole(a: np.ndarray) -> bool:
    return a.flags.c_contiguous


def group_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = geometry
    if not suits(x):
        return cpu.group_norm(x, gamma, beta, g)
    y, (mean, var) = np.empty(g.x_shape, x.dtype), np.empty((2, g.N * g.num_groups), x.dtype)
    parameters = [_of_groups(a, default, g, x.dtype) for a, default in ((gamma, 1), (beta, 0))]
    arrays = *(_row_view(a, g) for a in (*contiguous(x), y)), mean, var, *parameters, x.dtype.type(g.eps)
    loop: Callable[..., None] = row_loops.forward
    rows, every = len(mean), max(1, PART // g.count)

    def work(low: int, high: int) -> None:
        loop(*arrays, low * every, min(rows, high * every))

    over_blocks(work, -(-rows // every), x.size // WORTH, x.dtype)
    return y, mean.reshape(g.statistics_shape), var.reshape(g.statistics_shape)


@quietly
def group_norm_grads(
    dy: np.ndarray, x: np.ndarray, gamma: Optional, mean: np.ndarray, var: np.ndarray, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = geometry
    infinite = gamma is not None and not np.isfinite(gamma).all()  # times a sum is not the sum of its products
    if not suits(x) or g.C > KEPT or infinite:
        return cpu.group_norm_grads(dy, x, gamma, mean, var, g)
    dx = np.empty(g.x_shape, x.dtype)
    arrays = [_row_view(a, g) for a in (*contiguous(dy, x), dx)]
    arrays += [*(a.reshape(-1) for a in contiguous(mean, var)), _of_groups(gamma, 1, g, x.dtype)]
    loop: Callable[..., None] = row_loops.backward
    rows = g.N * g.num_groups
    every = max(1, PART // g.count, -(-rows // min(PARTS, max(1, KEPT // g.C))))
    dgamma, dbeta = np.zeros((2, -(-rows // every), g.num_groups, g.channels))

    def work(low: int, high: int) -> None:
        for part in range(low, high):
            own = dgamma[part], dbeta[part], x.dtype.type(g.eps)
            loop(*arrays, *own, part * every, min(rows, (part + 1) * every))

    over_blocks(work, len(dgamma), x.size // WORTH, x.dtype)
    found = (a.sum(axis=0).astype(x.dtype).reshape(g.parameter_shape) for a in (dgamma, dbeta))
    return dx, *found


def layer_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return group_norm(x, gamma, beta, geometry)


def layer_norm_grads(
    dy: np.ndarray, x: np.ndarray, gamma: Optional, mean: np.ndarray, var: np.ndarray, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return group_norm_grads(dy, x, gamma, mean, var, geometry)


def _row_view(a: np.ndarray, g: RowNormGeometry) -> np.ndarray:
    return a.reshape(-1, g.channels, g.plane)


def _of_groups(given: Optional, default: int, g: RowNormGeometry, dtype: np.dtype) -> np.ndarray:
    flat = np.full(g.C, default, dtype) if given is None else contiguous(given)[0]
    return flat.reshape(g.num_groups, g.channels)
