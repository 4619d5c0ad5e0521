"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..types import A
from .geometry import ConvGeometry


class ConvPath(Protocol):
    def conv(self, x: A, w: A, b: A | None, geometry: ConvGeometry) -> A: ...

    def conv_input_grad(self, dy: A, w: A, geometry: ConvGeometry) -> A: ...

    def conv_weight_grad(self, dy: A, x: A, geometry: ConvGeometry) -> A: ...

    def conv_bias_grad(self, dy: A, geometry: ConvGeometry) -> A: ...

    def conv_parameter_grads(self, dy: A, x: A, geometry: ConvGeometry) -> tuple[A, A]: ...

    def conv_grads(self, dy: A, x: A, w: A, geometry: ConvGeometry) -> tuple[A, A, A]: ...

    def conv_transpose(self, x: A, w: A, b: A | None, geometry: ConvGeometry) -> A: ...
