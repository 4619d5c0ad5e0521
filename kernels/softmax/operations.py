"""The records of softmax, its logarithm and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..operation import X_SHAPE, Y_SHAPE, Case, Compute, Family, Input, Operation, Output
from ..types import Shape
from .cases import SOFTMAX
from .geometry import SoftmaxGeometry


def _geometry(operation: str, x_shape: Shape, w_shape: Shape, *, axis: Any) -> SoftmaxGeometry:
    return SoftmaxGeometry.of(operation, tuple(x_shape), axis)


def _terms(g: SoftmaxGeometry) -> int:
    """Of a sum over a row, and the roundings of an exponential, a logarithm and a division."""
    return g.length + 8


def _flops(g: SoftmaxGeometry) -> int:
    return math.prod(g.x_shape)


def _softmax_bound(compute: Compute, inputs: tuple[Any, ...], g: SoftmaxGeometry) -> Any:
    """exp(z) errs by as many roundings as z is large."""
    (x,) = inputs
    return compute(x, g) * (1 + np.abs(x - x.max(g.axis, keepdims=True, initial=-np.inf)))


def _log_softmax_bound(compute: Compute, inputs: tuple[Any, ...], g: SoftmaxGeometry) -> Any:
    """The logarithm's argument is at least 1, and errs by as many roundings as it has terms."""
    (x,) = inputs
    return 1 + np.abs(compute(x, g)) + np.abs(x - x.max(g.axis, keepdims=True, initial=-np.inf))


def _softmax_grad_bound(compute: Compute, inputs: tuple[Any, ...], g: SoftmaxGeometry) -> Any:
    dy, y = np.abs(inputs)
    return y * (dy + (dy * y).sum(g.axis, keepdims=True))


def _log_softmax_grad_bound(compute: Compute, inputs: tuple[Any, ...], g: SoftmaxGeometry) -> Any:
    dy, y = np.abs(inputs)
    return dy + np.exp(inputs[1]) * (1 + y) * dy.sum(g.axis, keepdims=True)


def _pair(name: str, title: str, forward: Callable[..., Any], gradient: Callable[..., Any]) -> tuple[Operation, ...]:
    family = Family(
        name,
        "softmax",
        options={"axis": -1},
        geometry=_geometry,
        case=lambda g: Case("", g.x_shape, options={"axis": g.axis}),
        cases=SOFTMAX,
    )
    return (
        Operation(
            name,
            f"{title} forward",
            family,
            inputs=(Input("x", X_SHAPE),),
            outputs=(Output("y", Y_SHAPE, _terms),),
            flops=_flops,
            magnitudes=forward,
        ),
        Operation(
            f"{name}_grad",
            f"{title} grad",
            family,
            inputs=(Input("dy", Y_SHAPE), Input("y", Y_SHAPE, saved=True)),
            outputs=(Output("dx", X_SHAPE, _terms),),
            flops=_flops,
            magnitudes=gradient,
        ),
    )


OPERATIONS = (
    *_pair("softmax", "softmax", _softmax_bound, _softmax_grad_bound),
    *_pair("log_softmax", "log softmax", _log_softmax_bound, _log_softmax_grad_bound),
)
