"""Normalisation by others: as a textbook writes it in NumPy, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..layout import by_channels_first
from ..peers import Array, activated, torch_activated, torch_layout
from .geometry import BatchNormGeometry, RowNormGeometry

Geometry = BatchNormGeometry | RowNormGeometry


@by_channels_first
def batch_norm(x: Array, gamma: Array, beta: Array, residual: Array | None, g: BatchNormGeometry) -> tuple[Array, ...]:
    wide = x.astype(gamma.dtype)
    mean, var = (wide.mean(_others(x)), wide.var(_others(x))) if g.count else np.zeros((2, g.C), gamma.dtype)
    return batch_norm_inference(x, gamma, beta, mean, var, residual, g), mean, var


@by_channels_first
def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, residual: Array | None, g: BatchNormGeometry
) -> Array:
    y = _wide(gamma, x) * (x - _wide(mean, x)) / np.sqrt(_wide(var, x) + g.eps) + _wide(beta, x)
    return activated((y if residual is None else y + residual).astype(x.dtype), g)


@by_channels_first
def batch_norm_grads(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    beta: Array | None,
    y: Array | None,
    g: BatchNormGeometry,
) -> tuple[Array, ...]:
    dz, dgamma, dbeta, z = _sums(dy, x, mean, var, y, g)
    count = max(1, g.count)
    dx = _wide(gamma, x) * (dz - _wide(dbeta, x) / count - z * _wide(dgamma, x) / count)
    found = dx / np.sqrt(_wide(var, x) + g.eps), dgamma, dbeta
    return (*found, dz) if g.residual else found


@by_channels_first
def batch_norm_inference_grads(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    beta: Array | None,
    y: Array | None,
    g: BatchNormGeometry,
) -> tuple[Array, ...]:
    dz, dgamma, dbeta, _ = _sums(dy, x, mean, var, y, g)
    found = _wide(gamma, x) * dz / np.sqrt(_wide(var, x) + g.eps), dgamma, dbeta
    return (*found, dz) if g.residual else found


def _sums(
    dy: Array, x: Array, mean: Array, var: Array, y: Array | None, g: BatchNormGeometry
) -> tuple[Array, Array, Array, Array]:
    dz = dy if y is None else dy * (y > 0)
    z = (x - _wide(mean, x)) / np.sqrt(_wide(var, x) + g.eps)
    return dz, (dz * z).sum(axis=_others(x)), dz.sum(axis=_others(x)), z


def _others(x: Array) -> tuple[int, ...]:
    """All axes but the channels'."""
    return 0, *range(2, x.ndim)


def _wide(parameter: Array, x: Array) -> Array:
    return parameter.reshape(-1, *[1] * (x.ndim - 2))


def row_norm(x: Array, gamma: Array, beta: Array, g: RowNormGeometry) -> tuple[Array, ...]:
    rows = x.reshape(g.N, g.num_groups, g.count).astype(gamma.dtype)
    mean, var = rows.mean(axis=2), rows.var(axis=2)
    z = (rows - mean[..., None]) / np.sqrt(var[..., None] + g.eps)
    y = _of_row(gamma, g) * z + _of_row(beta, g)
    return y.astype(x.dtype).reshape(g.x_shape), mean.reshape(g.statistics_shape), var.reshape(g.statistics_shape)


def row_norm_grads(dy: Array, x: Array, gamma: Array, mean: Array, var: Array, g: RowNormGeometry) -> tuple[Array, ...]:
    rows, arriving = (a.reshape(g.N, g.num_groups, g.count) for a in (x, dy))
    mean, deviation = (a.reshape(g.N, g.num_groups, 1) for a in (mean, np.sqrt(var + g.eps)))
    z, scaled = (rows - mean) / deviation, arriving * _of_row(gamma, g)
    dx = scaled - scaled.mean(axis=2, keepdims=True) - z * (scaled * z).mean(axis=2, keepdims=True)
    dgamma, dbeta = (a.reshape(g.N, g.C, g.plane).sum(axis=(0, 2)) for a in (arriving * z, arriving))
    return (dx / deviation).reshape(g.x_shape), dgamma.reshape(g.parameter_shape), dbeta.reshape(g.parameter_shape)


def _of_row(parameter: Array, g: RowNormGeometry) -> Array:
    return np.repeat(parameter.ravel(), g.plane).reshape(g.num_groups, g.count)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "batch_norm": batch_norm,
    "batch_norm_grads": batch_norm_grads,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_inference_grads": batch_norm_inference_grads,
    "group_norm": row_norm,
    "group_norm_grads": row_norm_grads,
    "layer_norm": row_norm,
    "layer_norm_grads": row_norm_grads,
}

CUBLAS: dict[str, Callable[..., Any]] = {}


@torch_layout
def _torch_batch_norm(x: Any, gamma: Any, beta: Any, residual: Any, g: BatchNormGeometry) -> Callable[[], Any]:
    """PyTorch keeps 1/deviation; the variance that we return is worked out of it."""
    import torch

    def call() -> Any:
        y, mean, inverse = torch.native_batch_norm(x, gamma, beta, None, None, True, 0.0, g.eps)
        return _torch_finished(y, residual, g), mean, inverse**-2 - g.eps

    return call


@torch_layout
def _torch_batch_norm_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, residual: Any, g: BatchNormGeometry
) -> Callable[[], Any]:
    from torch.nn import functional as F

    return lambda: _torch_finished(F.batch_norm(x, mean, var, gamma, beta, False, 0.0, g.eps), residual, g)


def _torch_finished(y: Any, residual: Any, g: BatchNormGeometry) -> Any:
    return torch_activated(y if residual is None else y + residual, g)


@torch_layout
def _torch_batch_norm_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, beta: Any, y: Any, g: BatchNormGeometry
) -> Callable[[], Any]:
    return _torch_gradients(dy, x, gamma, mean, (var + g.eps).rsqrt(), y, g, training=True)


@torch_layout
def _torch_batch_norm_inference_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, beta: Any, y: Any, g: BatchNormGeometry
) -> Callable[[], Any]:
    return _torch_gradients(dy, x, gamma, mean, var, y, g, training=False)


def _torch_gradients(
    dy: Any, x: Any, gamma: Any, mean: Any, statistic: Any, y: Any, g: BatchNormGeometry, training: bool
) -> Callable[[], Any]:
    """statistic: 1/deviation in training, else the variance."""
    from torch.ops import aten

    running, saved = ((None, None), (mean, statistic)) if training else ((mean, statistic), (None, None))

    def call() -> Any:
        dz = dy if y is None else aten.threshold_backward(dy, y, 0)
        found = aten.native_batch_norm_backward(dz, x, gamma, *running, *saved, training, g.eps, [True, True, True])
        return (*found, dz) if g.residual else found

    return call


def _torch_group_norm(x: Any, gamma: Any, beta: Any, g: RowNormGeometry) -> Callable[[], Any]:
    import torch

    def call() -> Any:
        y, mean, inverse = torch.native_group_norm(x, gamma, beta, g.N, g.C, g.plane, g.num_groups, g.eps)
        return y, mean, inverse**-2 - g.eps

    return call


def _torch_group_norm_grads(dy: Any, x: Any, gamma: Any, mean: Any, var: Any, g: RowNormGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    inverse, sizes = (var + g.eps).rsqrt(), (g.N, g.C, g.plane, g.num_groups)
    return lambda: aten.native_group_norm_backward(dy, x, mean, inverse, gamma, *sizes, [True, True, True])


def _torch_layer_norm(x: Any, gamma: Any, beta: Any, g: RowNormGeometry) -> Callable[[], Any]:
    import torch

    def call() -> Any:
        y, mean, inverse = torch.native_layer_norm(x, g.parameter_shape, gamma, beta, g.eps)
        return y, mean.reshape(g.statistics_shape), (inverse**-2 - g.eps).reshape(g.statistics_shape)

    return call


def _torch_layer_norm_grads(dy: Any, x: Any, gamma: Any, mean: Any, var: Any, g: RowNormGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    shape = *g.statistics_shape, *[1] * len(g.parameter_shape)
    mean, inverse, beta = mean.reshape(shape), (var + g.eps).rsqrt().reshape(shape), gamma
    return lambda: aten.native_layer_norm_backward(
        dy, x, g.parameter_shape, mean, inverse, gamma, beta, [True, True, True]
    )


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "batch_norm": _torch_batch_norm,
    "batch_norm_grads": _torch_batch_norm_grads,
    "batch_norm_inference": _torch_batch_norm_inference,
    "batch_norm_inference_grads": _torch_batch_norm_inference_grads,
    "group_norm": _torch_group_norm,
    "group_norm_grads": _torch_group_norm_grads,
    "layer_norm": _torch_layer_norm,
    "layer_norm_grads": _torch_layer_norm_grads,
}
