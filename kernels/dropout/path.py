"""What a path of this room offers: functions of an operation's inputs, which were checked, and a geometry."""

from __future__ import annotations

from typing import Protocol

from ..types import A, Array
from .geometry import DropoutGeometry


class DropoutPath(Protocol):
    def dropout(self, x: A, position: Array, geometry: DropoutGeometry) -> A: ...
