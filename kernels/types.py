"""The types of public signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np


class Array(Protocol):
    """A numpy.ndarray or a cupy.ndarray."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def ndim(self) -> int: ...

    @property
    def size(self) -> int: ...


A = TypeVar("A", bound=Array)
"""The arrays of a call are of one library, and so is its result."""

Shape: TypeAlias = Sequence[int]
PerAxis: TypeAlias = int | Sequence[int]
"""An int, or one for each axis: (w,), (h, w) or (d, h, w)."""

IntOrPair: TypeAlias = PerAxis
"""The same of two axes."""

Padding: TypeAlias = PerAxis | Sequence[Sequence[int]] | Literal["valid", "same"]
"""An int, one for each axis, (before, after) for each axis, as ((top, bottom), (left, right)), 'valid' or 'same'."""
