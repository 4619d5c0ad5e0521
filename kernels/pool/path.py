"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..dispatch import Array
from .geometry import AvgPoolGeometry, PoolGeometry


class PoolPath(Protocol):
    def max_pool2d(self, x: Array, geometry: PoolGeometry) -> tuple[Array, Array]: ...

    def max_pool2d_grad(self, dy: Array, taps: Array, geometry: PoolGeometry) -> Array: ...

    def max_pool2d_indices(self, taps: Array, geometry: PoolGeometry) -> Array: ...

    def avg_pool2d(self, x: Array, geometry: AvgPoolGeometry) -> Array: ...

    def avg_pool2d_grad(self, dy: Array, geometry: AvgPoolGeometry) -> Array: ...
