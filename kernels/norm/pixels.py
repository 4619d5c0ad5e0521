"""Batch normalisation of arrays whose channels come last: they are matrices of pixels by channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def by_pixels(compute: F) -> F:
    """A path's function that is given matrices in the place of arrays with channels last."""

    @wraps(compute)
    def call(*arguments: Any) -> Any:
        geometry = arguments[-1]
        if not geometry.channels_last:
            return compute(*arguments)
        images, matrices = geometry.x_shape, geometry.of_pixels
        result = compute(*(_shaped(a, images, matrices.x_shape) for a in arguments[:-1]), matrices)
        if isinstance(result, tuple):
            return tuple(_shaped(a, matrices.x_shape, images) for a in result)
        return _shaped(result, matrices.x_shape, images)

    return call  # type: ignore[return-value]


def _shaped(a: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
    """Parameters and statistics are (C,), and what is not given is None."""
    return a.reshape(after) if a is not None and a.shape == before else a
