"""Activations explained: their formulas, and the one product of an element of the gradient, its slope by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from string import ascii_lowercase
from typing import Any

import numpy as np

from ..explain import Arrays, Explain, Formulas
from ..sums import Factor, Shape, Sum, Sums
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry

Derivative = Callable[[float, Any], float]


_RECAP = "Every element goes through the same curve, by itself."
_REASONS = {"dx": "An element of the output moves with its own input alone, by the slope of the curve there."}


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def _silu_derivative(x: float, g: ActivationGeometry) -> float:
    return _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))


def _gelu_derivative(x: float, g: GeluGeometry) -> float:
    if g.approximate == "tanh":
        k = math.sqrt(2 / math.pi)
        tanh = math.tanh(k * (x + 0.044715 * x**3))
        return (1 + tanh) / 2 + x / 2 * (1 - tanh**2) * k * (1 + 3 * 0.044715 * x**2)
    return math.erfc(-x / math.sqrt(2)) / 2 + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _hardswish_derivative(x: float, g: ActivationGeometry) -> float:
    return 0.0 if x <= -3 else 1.0 if x >= 3 else x / 3 + 0.5


def _explain(
    name: str, forward: str | Callable[[Any], str], gradient: str | Callable[[Any], str], derivative: Derivative
) -> Explain:
    """forward, gradient: the formulas, or what makes them of a geometry."""

    def formulas(g: ActivationGeometry, shapes: Mapping[str, Shape]) -> Formulas:
        y, dx = (text if isinstance(text, str) else text(g) for text in (forward, gradient))
        return Formulas(name, f"Y = {y}", {"dx": f"dX = {dx}"}, recap=_RECAP, reasons=_REASONS)

    def sums(g: ActivationGeometry, shapes: Mapping[str, Shape]) -> Sums:
        at = ascii_lowercase[: len(g.x_shape)]
        return {"dx": (Sum(at, (Factor("dy", at), Factor("f'(X)", at))),)}

    def slopes(g: ActivationGeometry, arrays: Arrays) -> dict[str, Any]:
        values = [derivative(x, g) for x in arrays["x"].ravel().tolist()]
        return {"f'(X)": np.array(values, float).reshape(g.x_shape)}

    return Explain(formulas, sums, slopes)


def _leaky(g: LeakyReluGeometry) -> str:
    return f"X where X > 0, else {g.negative_slope:g} X"


def _leaky_gradient(g: LeakyReluGeometry) -> str:
    return f"dY where X > 0, else {g.negative_slope:g} dY"


def _gelu(g: GeluGeometry) -> str:
    return "X · (1 + tanh(√(2/π) (X + 0.044715 X³))) / 2" if g.approximate == "tanh" else "X · Φ(X)"


def _gelu_gradient(g: GeluGeometry) -> str:
    return "dY · f'(X)" if g.approximate == "tanh" else "dY · (Φ(X) + X · φ(X))"


EXPLAIN = {
    "relu": _explain("relu", "max(X, 0)", "dY where X > 0, else 0", lambda x, g: 0.0 if x <= 0 else 1.0),
    "relu6": _explain(
        "relu6",
        "min(max(X, 0), 6)",
        "dY where 0 < X < 6, else 0",
        lambda x, g: 0.0 if x <= 0 or x >= 6 else 1.0,
    ),
    "leaky_relu": _explain(
        "leakyrelu", _leaky, _leaky_gradient, lambda x, g: 1.0 if x > 0 else float(g.negative_slope)
    ),
    "sigmoid": _explain(
        "sigmoid", "1 / (1 + exp(-X))", "dY · Y · (1 - Y)", lambda x, g: _sigmoid(x) * (1 - _sigmoid(x))
    ),
    "tanh": _explain("tanh", "tanh(X)", "dY · (1 - Y²)", lambda x, g: 1 - math.tanh(x) ** 2),
    "silu": _explain("silu", "X · σ(X), σ = 1 / (1 + exp(-X))", "dY · σ (1 + X (1 - σ))", _silu_derivative),
    "gelu": _explain("gelu", _gelu, _gelu_gradient, _gelu_derivative),
    "hardswish": _explain(
        "hardswish",
        "X · min(max(X + 3, 0), 6) / 6",
        "0 where X ≤ -3, dY where X ≥ 3, else dY · (X/3 + 1/2)",
        _hardswish_derivative,
    ),
}
