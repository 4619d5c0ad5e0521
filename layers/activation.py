"""Activations, Softmax, Flatten and Identity: layers without parameters between the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .. import kernels
from ..backend import on_device
from ..kernels import checks
from ..kernels.activation.geometry import (
    ActivationGeometry,
    GeluGeometry,
    LeakyReluGeometry,
    check_approximate,
    check_negative_slope,
)
from ..kernels.softmax.geometry import SoftmaxGeometry
from ..kernels.types import A, Array
from .base import Layer


class _Activation(Layer):
    """A function that keeps the shape. keeps: what its gradient takes, "y" or "x"."""

    operation: str
    keeps = "x"
    options: Mapping[str, Any] = MappingProxyType({})

    def forward(self, x: A) -> A:
        (x,) = checks.arrays(type(self).__name__, x=x)
        y: A = self._function("")(x, **self.options)
        self._keep(y if self.keeps == "y" else x)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        name, kept = f"{type(self).__name__}.backward", self._kept()
        given, kept = checks.arrays(name, **{"dy": dy, self.keeps: kept})
        checks.has_shape(name, "dy", given, kept.shape, "the shape of forward's output")
        return self._function("_grad")(given, kept, **self.options) if needs_input_grad else None

    def _function(self, suffix: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(kernels, f"{self.operation}{suffix}")
        return found

    def geometry(self, x_shape: tuple[int, ...]) -> Any:
        return ActivationGeometry(x_shape)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ReLU(_Activation):
    """y = max(x, 0), and NaN stays NaN. The gradient at x = 0 is 0, and at NaN it is dy, as in PyTorch."""

    operation, keeps = "relu", "y"


class ReLU6(_Activation):
    """y = min(max(x, 0), 6), and NaN stays NaN. The gradient at 0 and 6 is 0, and at NaN it is dy, as in PyTorch."""

    operation, keeps = "relu6", "y"


class LeakyReLU(_Activation):
    """y = x where x > 0, else negative_slope * x, which is a finite number >= 0."""

    operation, keeps = "leaky_relu", "y"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.options = {"negative_slope": check_negative_slope("LeakyReLU", negative_slope)}

    def geometry(self, x_shape: tuple[int, ...]) -> LeakyReluGeometry:
        return LeakyReluGeometry.of(self.operation, x_shape, **self.options)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.options['negative_slope']})"


class Sigmoid(_Activation):
    """y = 1 / (1 + exp(-x)), without overflow for any x."""

    operation, keeps = "sigmoid", "y"


class Tanh(_Activation):
    """y = tanh(x)."""

    operation, keeps = "tanh", "y"


class SiLU(_Activation):
    """y = x * sigmoid(x) (Elfwing et al. 2018), also called swish."""

    operation = "silu"


class GELU(_Activation):
    """y = x * cdf(x), cdf the normal distribution function (Hendrycks and Gimpel 2016).

    approximate: 'none', or 'tanh' for x * (1 + tanh(√(2/π) * (x + 0.044715 * x³))) / 2.
    """

    operation = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        self.options = {"approximate": check_approximate("GELU", approximate)}

    def geometry(self, x_shape: tuple[int, ...]) -> GeluGeometry:
        return GeluGeometry.of(self.operation, x_shape, **self.options)

    def __repr__(self) -> str:
        return "GELU()" if self.options["approximate"] == "none" else "GELU(approximate='tanh')"


class Hardswish(_Activation):
    """y = x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""

    operation = "hardswish"


class Softmax(_Activation):
    """y = exp(x) / sum of exp(x) along an axis."""

    operation, keeps = "softmax", "y"

    def __init__(self, axis: int = -1) -> None:
        self.options = {"axis": checks.fixed(axis)}

    def geometry(self, x_shape: tuple[int, ...]) -> SoftmaxGeometry:
        return SoftmaxGeometry.of(self.operation, x_shape, **self.options)

    def __repr__(self) -> str:
        return f"Softmax(axis={self.options['axis']})"


class Identity(Layer):
    """y = x."""

    def forward(self, x: A) -> A:
        (x,) = checks.arrays("Identity", x=x)
        self._keep(x.shape)
        return x

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        (given,) = checks.arrays("Identity.backward", dy=dy)
        checks.has_shape("Identity.backward", "dy", given, x_shape, "the shape of forward's output")
        return given if needs_input_grad else None

    def __repr__(self) -> str:
        return "Identity()"


class Flatten(Layer):
    """x (N, ...) -> y (N, F), F the product of the other extents."""

    def forward(self, x: A) -> A:
        (given,) = checks.arrays("Flatten", x=x)
        if given.ndim < 1:
            raise checks.value_error("Flatten", "x.shape", given.shape, "at least the axis N")
        self._keep(given.shape)
        with on_device(given):
            flat: A = given.reshape(given.shape[0], math.prod(given.shape[1:]))
            return flat

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        (given,) = checks.arrays("Flatten.backward", dy=dy)
        matrix = (x_shape[0], math.prod(x_shape[1:]))
        checks.has_shape("Flatten.backward", "dy", given, matrix, "(N, F) of forward's output")
        with on_device(given):
            return given.reshape(x_shape) if needs_input_grad else None

    def __repr__(self) -> str:
        return "Flatten()"
