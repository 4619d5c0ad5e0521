"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Any, Protocol

from ..types import A, Array
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry


class PoolPath(Protocol):
    def max_pool(self, x: A, geometry: PoolGeometry) -> tuple[A, Any]: ...

    def max_pool_grad(self, dy: A, taps: Array, geometry: PoolGeometry) -> A: ...

    def max_pool_indices(self, taps: Array, geometry: PoolGeometry) -> Any: ...

    def avg_pool(self, x: A, geometry: AvgPoolGeometry) -> A: ...

    def avg_pool_grad(self, dy: A, geometry: AvgPoolGeometry) -> A: ...

    def adaptive_avg_pool(self, x: A, geometry: AdaptivePoolGeometry) -> A: ...

    def adaptive_avg_pool_grad(self, dy: A, geometry: AdaptivePoolGeometry) -> A: ...
