"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..dispatch import Array
from .geometry import ConvGeometry


class ConvPath(Protocol):
    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array: ...

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry) -> Array: ...

    def conv2d_weight_grad(self, dy: Array, x: Array, geometry: ConvGeometry) -> Array: ...

    def conv2d_bias_grad(self, dy: Array, geometry: ConvGeometry) -> Array: ...

    def conv2d_parameter_grads(self, dy: Array, x: Array, geometry: ConvGeometry) -> tuple[Array, Array]: ...

    def conv2d_grads(self, dy: Array, x: Array, w: Array, geometry: ConvGeometry) -> tuple[Array, Array, Array]: ...

    def conv_transpose2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array: ...
