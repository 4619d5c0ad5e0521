"""The records of batch, group and layer normalisation and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import accumulation_dtype
from ..layout import NCHW, NHWC
from ..operation import X_SHAPE, Case, Compute, Family, Input, Operation, Output, as_tuple
from ..types import Shape
from .cases import BATCH_NORM, GROUP_NORM, LAYER_NORM
from .geometry import BatchNormGeometry, RowNormGeometry

Geometry = BatchNormGeometry | RowNormGeometry
Bounds = tuple[np.ndarray, ...]


def _batch_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> BatchNormGeometry:
    return BatchNormGeometry.of(operation, x_shape, **options)


def _group_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> RowNormGeometry:
    return RowNormGeometry.of_groups(operation, x_shape, **options)


def _layer_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> RowNormGeometry:
    return RowNormGeometry.of_layer(operation, x_shape, **options)


_EPS = {"eps": 1e-5}


def _case(g: Geometry, **options: Any) -> Case:
    return Case("", g.x_shape, options=options if g.eps == _EPS["eps"] else {**options, "eps": g.eps})


def _batch_case(g: BatchNormGeometry) -> Case:
    given = {"activation": g.activation, "residual": g.residual, "layout": NHWC if g.channels_last else None}
    return _case(g, **{name: value for name, value in given.items() if value})


_BATCH_NORM = Family(
    "batch_norm",
    "norm",
    options={**_EPS, "activation": None, "residual": False, "layout": NCHW},
    geometry=_batch_geometry,
    case=_batch_case,
    cases=BATCH_NORM,
)
_GROUP_NORM = Family(
    "group_norm",
    "norm",
    options={"num_groups": None, **_EPS},
    geometry=_group_geometry,
    case=lambda g: _case(g, num_groups=g.num_groups),
    cases=GROUP_NORM,
)
_LAYER_NORM = Family(
    "layer_norm",
    "norm",
    options={"normalized_shape": None, **_EPS},
    geometry=_layer_geometry,
    case=lambda g: _case(g, normalized_shape=g.parameter_shape),
    cases=LAYER_NORM,
)


def _of_sums(g: Geometry, dtype: np.dtype) -> np.dtype:
    return accumulation_dtype(dtype)


def _parameter_shape(g: Geometry) -> Shape:
    return g.parameter_shape


def _statistics_shape(g: Geometry) -> Shape:
    return g.statistics_shape


def _terms(g: Geometry) -> int:
    """Of a sum over the elements that share statistics, and the roundings that follow."""
    return g.count + 8


def _channel_terms(g: RowNormGeometry) -> int:
    return g.N * g.plane + g.count + 8


def _activated(g: BatchNormGeometry) -> bool:
    return g.activation is not None


def _with_residual(g: BatchNormGeometry) -> bool:
    return g.residual


def _flops(g: Geometry) -> int:
    return math.prod(g.x_shape)


def _statistic(a: Any, g: Geometry) -> Any:
    """A mean or a variance beside x's elements as _seen gives them."""
    return a.reshape((g.C, 1) if isinstance(g, BatchNormGeometry) else (g.N, g.num_groups, 1, 1))


def _parameter(a: Any, g: Geometry) -> Any:
    return a.reshape((g.C, 1) if isinstance(g, BatchNormGeometry) else (g.num_groups, g.channels, 1))


def _seen(a: Any, g: Geometry) -> Any:
    """x with an axis, or two, for those elements that share statistics."""
    if isinstance(g, BatchNormGeometry):
        return a.reshape((g.count, g.C, 1) if g.channels_last else (g.N, g.C, g.plane))
    return a.reshape(g.N, g.num_groups, g.channels, g.plane)


def _shared(g: Geometry) -> tuple[int, int]:
    return (0, 2) if isinstance(g, BatchNormGeometry) else (2, 3)


def _of_channel(g: Geometry) -> tuple[int, int]:
    return (0, 2) if isinstance(g, BatchNormGeometry) else (0, 3)


def _forward_bounds(compute: Compute, inputs: tuple[Any, ...], g: Geometry) -> Bounds:
    """The mean errs by roundings of mean |x|, the variance by those of (deviation + mean |x|)², and y by both."""
    x, gamma, beta, *residual = inputs
    _, mean, var = compute(*inputs, g)
    of_mean = np.abs(_seen(x, g)).sum(_shared(g)) / max(1, g.count)
    of_var = np.square(np.sqrt(var.reshape(of_mean.shape)) + of_mean)
    y = _y_bound(x, gamma, beta, mean, var, residual, g, of_mean, of_var)
    return y, of_mean.reshape(mean.shape), of_var.reshape(var.shape)


def _inference_bound(compute: Compute, inputs: tuple[Any, ...], g: Geometry) -> np.ndarray:
    x, gamma, beta, mean, var, *residual = inputs
    return _y_bound(x, gamma, beta, mean, var, residual, g, np.abs(mean), var)


def _y_bound(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, residual: Any, g: Geometry, of_mean: Any, of_var: Any
) -> np.ndarray:
    inverse, centred = _inverse(var, g), np.abs(_seen(x, g) - _statistic(mean, g))
    bound = (np.abs(_seen(x, g)) + _statistic(of_mean, g)) * inverse
    bound = bound + centred * inverse**3 * _statistic(of_var, g)
    bound = bound * np.abs(_parameter(gamma, g)) + np.abs(_parameter(beta, g))
    for each in residual:
        bound = bound + (0 if each is None else np.abs(_seen(each, g)))
    return bound.reshape(g.x_shape)


def _inverse(var: Any, g: Geometry) -> Any:
    return 1 / np.sqrt(_statistic(var, g) + g.eps)


def _gradient_bounds(of_statistics: bool, compute: Compute, inputs: tuple[Any, ...], g: Geometry) -> Bounds:
    """The formulas with every term's absolute value."""
    dy, x, gamma, mean, var = (np.abs(each) for each in inputs[:5])
    dy, gamma, inverse = _seen(dy, g), _parameter(gamma, g), _inverse(var, g)
    normalised = (_seen(x, g) + _statistic(mean, g)) * inverse
    arriving, scale, count = dy * gamma, inverse, max(1, g.count)
    dx = arriving
    if of_statistics:
        of_mean = arriving.sum(_shared(g), keepdims=True) / count
        of_deviation = (arriving * normalised).sum(_shared(g), keepdims=True) / count
        dx = arriving + of_mean + normalised * of_deviation
    dgamma, dbeta = (dy * normalised).sum(_of_channel(g)), np.broadcast_to(dy, normalised.shape).sum(_of_channel(g))
    found = (dx * scale).reshape(g.x_shape), dgamma.reshape(g.parameter_shape), dbeta.reshape(g.parameter_shape)
    return (*found, found[0]) if isinstance(g, BatchNormGeometry) and g.residual else found


def _before_residual(compute: Compute, inputs: tuple[Any, ...], g: BatchNormGeometry) -> np.ndarray:
    """What is rounded to 16 bits before the residual is added to it."""
    *others, residual = inputs
    y, *_ = as_tuple(compute(*others, None, replace(g, activation=None, residual=False)))
    return np.zeros(y.shape) if residual is None else np.abs(y)


_X, _DY = Input("x", X_SHAPE), Input("dy", X_SHAPE)
_GAMMA, _BETA = Input("gamma", _parameter_shape, _of_sums), Input("beta", _parameter_shape, _of_sums)
_MEAN, _VAR = (Input(name, _statistics_shape, _of_sums, saved=True) for name in ("mean", "var"))
_RESIDUAL = replace(_X, name="residual", present=_with_residual)
_OF_ACTIVATION = replace(_BETA, present=_activated), replace(_X, name="y", saved=True, present=_activated)

_Y = Output("y", X_SHAPE, terms=_terms)
_STATISTICS = tuple(Output(name, _statistics_shape, terms=_terms, dtype=_of_sums) for name in ("mean", "var"))


def _gradients(terms: Callable[[Any], int]) -> tuple[Output, ...]:
    parameters = (Output(name, _parameter_shape, terms=terms, dtype=_of_sums) for name in ("dgamma", "dbeta"))
    return Output("dx", X_SHAPE, terms=_terms), *parameters


_DRESIDUAL = Output("dresidual", X_SHAPE, terms=None, present=_with_residual)


def _row_norm(family: Family, title: str) -> tuple[Operation, Operation]:
    return (
        Operation(
            family.name,
            f"{title} forward",
            family,
            inputs=(_X, _GAMMA, _BETA),
            outputs=(_Y, *_STATISTICS),
            flops=_flops,
            magnitudes=_forward_bounds,
        ),
        Operation(
            f"{family.name}_grads",
            f"{title} dx+dgamma+dbeta",
            family,
            inputs=(_DY, _X, _GAMMA, _MEAN, _VAR),
            outputs=_gradients(_channel_terms),
            flops=_flops,
            magnitudes=partial(_gradient_bounds, True),
        ),
    )


OPERATIONS = (
    Operation(
        "batch_norm",
        "batch norm forward",
        _BATCH_NORM,
        inputs=(_X, _GAMMA, _BETA, _RESIDUAL),
        outputs=(replace(_Y, between=_before_residual), *_STATISTICS),
        flops=_flops,
        magnitudes=_forward_bounds,
    ),
    Operation(
        "batch_norm_grads",
        "batch norm dx+dgamma+dbeta",
        _BATCH_NORM,
        inputs=(_DY, _X, _GAMMA, _MEAN, _VAR, *_OF_ACTIVATION),
        outputs=(*_gradients(_terms), _DRESIDUAL),
        flops=_flops,
        magnitudes=partial(_gradient_bounds, True),
    ),
    Operation(
        "batch_norm_inference",
        "batch norm inference",
        _BATCH_NORM,
        inputs=(_X, _GAMMA, _BETA, _MEAN, _VAR, _RESIDUAL),
        outputs=(replace(_Y, between=_before_residual),),
        flops=_flops,
        magnitudes=_inference_bound,
    ),
    Operation(
        "batch_norm_inference_grads",
        "batch norm inference dx+dgamma+dbeta",
        _BATCH_NORM,
        inputs=(_DY, _X, _GAMMA, _MEAN, _VAR, *_OF_ACTIVATION),
        outputs=(*_gradients(_terms), _DRESIDUAL),
        flops=_flops,
        magnitudes=partial(_gradient_bounds, False),
    ),
    *_row_norm(_GROUP_NORM, "group norm"),
    *_row_norm(_LAYER_NORM, "layer norm"),
)
