"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..types import A
from .geometry import ResizeGeometry


class ResizePath(Protocol):
    def upsample(self, x: A, geometry: ResizeGeometry) -> A: ...

    def upsample_grad(self, dy: A, geometry: ResizeGeometry) -> A: ...
