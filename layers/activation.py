"""Layers without parameters between the others: ReLU and Flatten."""

from __future__ import annotations

import math
from typing import Any

from ..backend import get_array_module, on_device, quietly
from ..kernels import checks
from ..kernels.types import A, Array
from .base import Layer


class ReLU(Layer):
    """y = max(x, 0), and NaN stays NaN. The gradient at x = 0 is 0, and at NaN it is dy, as in PyTorch."""

    @quietly
    def forward(self, x: A) -> A:
        (x,) = checks.arrays("ReLU", x=x)
        xp = get_array_module(x)
        with on_device(x):
            y = xp.asarray(xp.maximum(x, 0))
        self._keep(y)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        y = self._kept()
        given, y = checks.arrays("ReLU.backward", dy=dy, y=y)
        checks.has_shape("ReLU.backward", "dy", given, y.shape, "the shape of forward's output")
        if not needs_input_grad:
            return None
        # y is 0 exactly where x <= 0. Times 0 as integers, infinities and NaN become 0 as well; `where` is slower
        with on_device(given):
            bits = given.view(f"u{given.dtype.itemsize}")
            return get_array_module(given).asarray(bits * (y != 0)).view(given.dtype)

    def __repr__(self) -> str:
        return "ReLU()"


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
