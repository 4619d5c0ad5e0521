"""The records of activations and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..operation import X_SHAPE, Y_SHAPE, Case, Compute, Family, Input, Operation, Output
from ..types import Shape
from .cases import activation_cases
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry

Magnitudes = Callable[[Compute, tuple[Any, ...], Any], Any]


def _geometry(operation: str, x_shape: Shape, w_shape: Shape) -> ActivationGeometry:
    return ActivationGeometry(tuple(x_shape))


def _leaky_geometry(operation: str, x_shape: Shape, w_shape: Shape, *, negative_slope: Any) -> LeakyReluGeometry:
    return LeakyReluGeometry.of(operation, tuple(x_shape), negative_slope)


def _gelu_geometry(operation: str, x_shape: Shape, w_shape: Shape, *, approximate: Any) -> GeluGeometry:
    return GeluGeometry.of(operation, tuple(x_shape), approximate)


def _family(name: str) -> Family:
    return Family(
        name,
        "activation",
        options={},
        geometry=_geometry,
        case=lambda g: Case("", g.x_shape),
        cases=activation_cases(),
    )


_LEAKY_RELU = Family(
    "leaky_relu",
    "activation",
    options={"negative_slope": 0.01},
    geometry=_leaky_geometry,
    case=lambda g: Case("", g.x_shape, options={"negative_slope": g.negative_slope}),
    cases=(*activation_cases(), Case("slope", (3, 5, 7), options={"negative_slope": 0.25})),
)
_GELU = Family(
    "gelu",
    "activation",
    options={"approximate": "none"},
    geometry=_gelu_geometry,
    case=lambda g: Case("", g.x_shape, options={"approximate": g.approximate}),
    cases=activation_cases() + activation_cases(approximate="tanh"),
)


def _relative(compute: Compute, inputs: tuple[Any, ...], g: Any) -> Any:
    return np.abs(compute(*inputs, g))


def _of_exponential(compute: Compute, inputs: tuple[Any, ...], g: Any) -> Any:
    """An exponential of x², or of some three times as much, errs by so many roundings."""
    return np.abs(compute(*inputs, g)) * (1 + np.square(inputs[-1]))


def _of_silu(compute: Compute, inputs: tuple[Any, ...], g: Any) -> Any:
    """dx = dy s (1 + x (1 - s)) has a zero, at which two terms cancel."""
    dy, x = np.abs(inputs)
    return dy * np.exp(-np.maximum(-inputs[1], 0)) * (1 + x * np.exp(-np.maximum(inputs[1], 0)))


def _of_gelu(compute: Compute, inputs: tuple[Any, ...], g: Any) -> Any:
    """dx = dy (cdf(x) + x pdf(x)), and what is near it, has a zero, at which two terms cancel."""
    dy, x = np.abs(inputs)
    falling = np.exp(-x * x / 2)
    return dy * (np.where(inputs[1] > 0, 1, falling) + x * falling) * (1 + x * x)


def _of_hardswish(compute: Compute, inputs: tuple[Any, ...], g: Any) -> Any:
    """dx = dy (x/3 + 1/2) has a zero."""
    dy, x = np.abs(inputs)
    return dy * np.where(inputs[1] <= -3, 0, np.minimum(x / 3, 1) + 0.5)


def _pair(
    family: Family,
    title: str,
    kept: str,
    terms: int | None,
    forward: Magnitudes = _relative,
    gradient: Magnitudes = _relative,
) -> tuple[Operation, Operation]:
    """An activation and its gradient, which takes what is `kept`: y where it says enough, since the next layer keeps
    it too, else x. terms: the roundings that an element's error is bounded by, beside the magnitudes."""

    def size(g: ActivationGeometry) -> int:
        return g.size

    def rounded(g: ActivationGeometry) -> int:
        return terms or 0

    bound = None if terms is None else rounded
    x, dy = Input("x", X_SHAPE), Input("dy", Y_SHAPE)
    return (
        Operation(
            family.name,
            f"{title} forward",
            family,
            inputs=(x,),
            outputs=(Output("y", Y_SHAPE, bound),),
            flops=size,
            magnitudes=forward,
        ),
        Operation(
            f"{family.name}_grad",
            f"{title} grad",
            family,
            inputs=(dy, x if kept == "x" else Input("y", Y_SHAPE, saved=True)),
            outputs=(Output("dx", X_SHAPE, bound),),
            flops=size,
            magnitudes=gradient,
        ),
    )


OPERATIONS = (
    *_pair(_family("relu"), "ReLU", "y", None),
    *_pair(_family("relu6"), "ReLU6", "y", None),
    *_pair(_LEAKY_RELU, "leaky ReLU", "y", 1),
    *_pair(_family("sigmoid"), "sigmoid", "y", 6),
    *_pair(_family("tanh"), "tanh", "y", 6),
    *_pair(_family("silu"), "SiLU", "x", 8, gradient=_of_silu),
    *_pair(_GELU, "GELU", "x", 8, _of_exponential, _of_gelu),
    *_pair(_family("hardswish"), "hardswish", "x", 4, gradient=_of_hardswish),
)
