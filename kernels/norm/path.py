"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Any, Protocol

from ..types import A
from .geometry import BatchNormGeometry, RowNormGeometry


class NormPath(Protocol):
    def batch_norm(
        self, x: A, gamma: Any, beta: Any, residual: A | None, geometry: BatchNormGeometry
    ) -> tuple[A, Any, Any]: ...

    def batch_norm_grads(
        self, dy: A, x: A, gamma: Any, mean: Any, var: Any, beta: Any, y: A | None, geometry: BatchNormGeometry
    ) -> tuple[A, ...]: ...

    def batch_norm_inference(
        self, x: A, gamma: Any, beta: Any, mean: Any, var: Any, residual: A | None, geometry: BatchNormGeometry
    ) -> A: ...

    def batch_norm_inference_grads(
        self, dy: A, x: A, gamma: Any, mean: Any, var: Any, beta: Any, y: A | None, geometry: BatchNormGeometry
    ) -> tuple[A, ...]: ...

    def group_norm(self, x: A, gamma: Any, beta: Any, geometry: RowNormGeometry) -> tuple[A, Any, Any]: ...

    def group_norm_grads(
        self, dy: A, x: A, gamma: Any, mean: Any, var: Any, geometry: RowNormGeometry
    ) -> tuple[A, Any, Any]: ...

    def layer_norm(self, x: A, gamma: Any, beta: Any, geometry: RowNormGeometry) -> tuple[A, Any, Any]: ...

    def layer_norm_grads(
        self, dy: A, x: A, gamma: Any, mean: Any, var: Any, geometry: RowNormGeometry
    ) -> tuple[A, Any, Any]: ...
