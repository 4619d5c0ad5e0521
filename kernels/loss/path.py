"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Any, Protocol

from ..types import A, Array
from .geometry import CrossEntropyGeometry, ElementLossGeometry


class LossPath(Protocol):
    def cross_entropy(self, x: A, labels: Array, weight: A | None, geometry: CrossEntropyGeometry) -> tuple[Any, A]: ...

    def mse(self, x: A, target: A, geometry: ElementLossGeometry) -> tuple[Any, A]: ...

    def bce_with_logits(self, x: A, target: A, geometry: ElementLossGeometry) -> tuple[Any, A]: ...
