"""Normalisation in plain NumPy: mean, then variance around it, then every element. Other paths are judged by it.

What follows the statistics is written so that every path rounds alike: given equal statistics, the bits are equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu import threads
from ..cpu.pieces import PIECE, cut, whole
from ..cpu.rectified import ended
from ..dtypes import accumulation_dtype
from .geometry import BatchNormGeometry, RowNormGeometry
from .pixels import by_pixels

Optional = np.ndarray | None


@by_pixels
def batch_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, residual: Optional, geometry: BatchNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y, (mean, var) = np.empty(_planes(g), x.dtype), np.empty((2, g.C), acc)

    def work(c: slice) -> None:
        part = _channels(x, c, g).astype(acc)
        mean[c] = _sums(part) / max(1, g.count)
        part -= mean[c, None]
        var[c] = _sums(part * part) / max(1, g.count)
        y[:, c] = _finished(part, c, var, gamma, beta, residual, g, x.dtype)

    _run_channels(work, g.C, g.count)
    return y.reshape(g.x_shape), mean, var


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
    g = geometry
    y = np.empty(_planes(g), x.dtype)

    def work(c: slice) -> None:
        part = _channels(x, c, g) - mean[c, None]
        y[:, c] = _finished(part, c, var, gamma, beta, residual, g, x.dtype)

    _run_channels(work, g.C, g.count)
    return y.reshape(g.x_shape)


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
    return _batch_norm_grads(dy, x, gamma, mean, var, y, geometry, of_statistics=True)


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
    return _batch_norm_grads(dy, x, gamma, mean, var, y, geometry, of_statistics=False)


def _batch_norm_grads(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: Optional,
    mean: np.ndarray,
    var: np.ndarray,
    y: Optional,
    g: BatchNormGeometry,
    of_statistics: bool,
) -> tuple[np.ndarray, ...]:
    """of_statistics: whether x reaches y through mean and var as well."""
    acc = accumulation_dtype(x.dtype)
    dx, (dgamma, dbeta) = np.empty(_planes(g), x.dtype), np.empty((2, g.C), acc)
    dresidual = np.empty(_planes(g), dy.dtype) if g.residual else None
    count = max(1, g.count)

    def work(c: slice) -> None:
        dz = _channels(dy, c, g).astype(acc)
        if y is not None:
            dz = np.where(_channels(y, c, g) <= 0, 0, dz)
        if dresidual is not None:
            dresidual[:, c] = dz
        deviation = _inverse_deviation(var[c], g.eps)
        normalised = (_channels(x, c, g) - mean[c, None]) * deviation[:, None]
        dbeta[c], dgamma[c] = _sums(dz), _sums(dz * normalised)
        if of_statistics:
            dz -= (dbeta[c] / count)[:, None]
            dz -= normalised * (dgamma[c] / count)[:, None]
        dx[:, c] = dz * _scale(gamma, c, deviation)[:, None]

    _run_channels(work, g.C, g.count)
    found = dx.reshape(g.x_shape), dgamma, dbeta
    return found if dresidual is None else (*found, dresidual.reshape(g.x_shape))


def group_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y, (mean, var) = np.empty(_rows(g), x.dtype), np.empty((2, g.N, g.num_groups), acc)
    x, (gamma, beta) = _reshaped(x, y.shape), _row_parameters(g, gamma, beta)

    def work(n: slice, group: slice) -> None:
        part = x[n, group].astype(acc)
        mean[n, group] = part.sum(axis=2) / g.count
        part -= mean[n, group, None]
        var[n, group] = (part * part).sum(axis=2) / g.count
        scale = _inverse_deviation(var[n, group], g.eps)[..., None]
        y[n, group] = part * (scale if gamma is None else gamma[group] * scale) + (0 if beta is None else beta[group])

    _run_rows(work, g)
    return y.reshape(g.x_shape), mean.reshape(g.statistics_shape), var.reshape(g.statistics_shape)


def group_norm_grads(
    dy: np.ndarray, x: np.ndarray, gamma: Optional, mean: np.ndarray, var: np.ndarray, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    dx, (dgamma, dbeta) = np.empty(_rows(g), x.dtype), np.empty((2, g.C), acc)
    dy, x, (weight,) = _reshaped(dy, dx.shape), _reshaped(x, dx.shape), _row_parameters(g, gamma)
    mean = mean.reshape(g.N, g.num_groups)
    deviation = np.empty_like(mean)

    def of_rows(n: slice, group: slice) -> None:
        deviation[n, group] = _inverse_deviation(var.reshape(mean.shape)[n, group], g.eps)
        normalised = (x[n, group] - mean[n, group, None]) * deviation[n, group, None]
        dz = dy[n, group].astype(acc)
        if weight is not None:
            dz *= weight[group]
        of_mean, of_deviation = dz.sum(axis=2) / g.count, (dz * normalised).sum(axis=2) / g.count
        dz -= of_mean[..., None]
        dz -= normalised * of_deviation[..., None]
        dx[n, group] = dz * deviation[n, group, None]

    def of_channels(c: slice) -> None:
        group = np.arange(c.start, c.stop) // g.channels
        planes = g.N, g.C, g.plane
        normalised = (x.reshape(planes)[:, c] - mean[:, group, None]) * deviation[:, group, None]
        dz = dy.reshape(planes)[:, c].astype(acc)
        dbeta[c], dgamma[c] = _sums(dz), _sums(dz * normalised)

    _run_rows(of_rows, g)
    _run_channels(of_channels, g.C, g.N * g.plane)
    return dx.reshape(g.x_shape), dgamma.reshape(g.parameter_shape), dbeta.reshape(g.parameter_shape)


def layer_norm(
    x: np.ndarray, gamma: Optional, beta: Optional, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return group_norm(x, gamma, beta, geometry)


def layer_norm_grads(
    dy: np.ndarray, x: np.ndarray, gamma: Optional, mean: np.ndarray, var: np.ndarray, geometry: RowNormGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return group_norm_grads(dy, x, gamma, mean, var, geometry)


def _inverse_deviation(var: np.ndarray, eps: float) -> np.ndarray:
    return 1 / np.sqrt(var + var.dtype.type(eps))


def _scale(gamma: Optional, c: slice, deviation: np.ndarray) -> np.ndarray:
    return deviation if gamma is None else gamma[c] * deviation


def _finished(
    centred: np.ndarray,
    c: slice,
    var: np.ndarray,
    gamma: Optional,
    beta: Optional,
    residual: Optional,
    g: BatchNormGeometry,
    dtype: np.dtype,
) -> np.ndarray:
    """x - mean scaled and shifted; in 16 bits rounded before the residual is added, as if by another call."""
    centred *= _scale(gamma, c, _inverse_deviation(var[c], g.eps))[:, None]
    centred += 0 if beta is None else beta[c, None]
    y = centred.astype(dtype, copy=False)
    if residual is not None:
        y += _channels(residual, c, g)
    return ended(y, g.activation)


def _sums(a: np.ndarray) -> np.ndarray:
    """Of each channel of (N, C, S), pairwise along both axes (NumPy adds so along the last axis alone)."""
    return np.ascontiguousarray(a.sum(axis=2).T).sum(axis=1)


def _planes(g: BatchNormGeometry) -> tuple[int, int, int]:
    return g.N, g.C, g.plane


def _channels(a: np.ndarray, c: slice, g: BatchNormGeometry) -> np.ndarray:
    """Some channels of (N, C, *X) as (N, C, plane), in C order: in which order NumPy adds depends on it."""
    return np.ascontiguousarray(a[:, c]).reshape(g.N, c.stop - c.start, g.plane)


def _rows(g: RowNormGeometry) -> tuple[int, int, int]:
    return g.N, g.num_groups, g.count


def _row_parameters(g: RowNormGeometry, *parameters: Optional) -> tuple[Optional, ...]:
    """One number for each element of a row: (num_groups, count)."""
    return tuple(
        None if each is None else np.repeat(each.reshape(-1), g.plane).reshape(g.num_groups, g.count)
        for each in parameters
    )


def _reshaped(a: Any, shape: tuple[int, ...]) -> Any:
    """In C order: in which order NumPy adds depends on it."""
    return None if a is None else np.ascontiguousarray(a).reshape(shape)


def _run_channels(work: Any, channels: int, each: int) -> None:
    """Call work for some of the channels at a time, of so many elements each."""
    threads.run(work, list(cut(whole(channels), max(1, PIECE // max(1, each)))), 6 * PIECE * 8, alone=True)


def _run_rows(work: Any, g: RowNormGeometry) -> None:
    threads.run(work, list(cut(whole(g.N, g.num_groups), max(1, PIECE // g.count))), 6 * PIECE * 8, alone=True)
