"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..types import A
from .geometry import LinearGeometry


class LinearPath(Protocol):
    def linear(self, x: A, w: A, b: A | None, geometry: LinearGeometry) -> A: ...

    def linear_input_grad(self, dy: A, w: A, geometry: LinearGeometry) -> A: ...

    def linear_weight_grad(self, dy: A, x: A, geometry: LinearGeometry) -> A: ...

    def linear_bias_grad(self, dy: A, geometry: LinearGeometry) -> A: ...

    def linear_parameter_grads(self, dy: A, x: A, geometry: LinearGeometry) -> tuple[A, A]: ...

    def linear_grads(self, dy: A, x: A, w: A, geometry: LinearGeometry) -> tuple[A, A, A]: ...
