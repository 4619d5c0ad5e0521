"""Lines as images of one row: what is written for two axes serves one axis too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def planar(compute: F) -> F:
    """A path function that is given the arrays and the geometry of lines with an axis of one row before the last."""

    @wraps(compute)
    def call(*arguments: Any) -> Any:
        *arrays, geometry = arguments
        if geometry.rank != 1:
            return compute(*arguments)
        result = compute(*map(_with_row, arrays), geometry.with_row)
        return tuple(map(_without_row, result)) if isinstance(result, tuple) else _without_row(result)

    return call  # type: ignore[return-value]


def _with_row(a: Any) -> Any:
    """A bias may be (K,), or None."""
    return a if a is None or a.ndim == 1 else a.reshape(*a.shape[:-1], 1, a.shape[-1])


def _without_row(a: Any) -> Any:
    return a.reshape(*a.shape[:-2], a.shape[-1])
