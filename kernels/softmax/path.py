"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..types import A
from .geometry import SoftmaxGeometry


class SoftmaxPath(Protocol):
    def softmax(self, x: A, geometry: SoftmaxGeometry) -> A: ...

    def softmax_grad(self, dy: A, y: A, geometry: SoftmaxGeometry) -> A: ...

    def log_softmax(self, x: A, geometry: SoftmaxGeometry) -> A: ...

    def log_softmax_grad(self, dy: A, y: A, geometry: SoftmaxGeometry) -> A: ...
