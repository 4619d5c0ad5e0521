"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..dispatch import Array
from .geometry import LinearGeometry


class LinearPath(Protocol):
    def linear(self, x: Array, w: Array, b: Array | None, geometry: LinearGeometry) -> Array: ...

    def linear_input_grad(self, dy: Array, w: Array, geometry: LinearGeometry) -> Array: ...

    def linear_weight_grad(self, dy: Array, x: Array, geometry: LinearGeometry) -> Array: ...

    def linear_bias_grad(self, dy: Array, geometry: LinearGeometry) -> Array: ...

    def linear_parameter_grads(self, dy: Array, x: Array, geometry: LinearGeometry) -> tuple[Array, Array]: ...

    def linear_grads(self, dy: Array, x: Array, w: Array, geometry: LinearGeometry) -> tuple[Array, Array, Array]: ...
