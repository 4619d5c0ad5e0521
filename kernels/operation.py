"""What an operation is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One configuration: the extents and the options, named for what is awkward about it."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name
