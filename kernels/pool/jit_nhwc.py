"""Pooling where channels stand last, by compiled loops over pixels: functions of a path (path.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..jit.blocks import over_blocks
from ..jit.compiled import over_images, wide
from ..jit.layout import three
from ..jit.vectors import lanes
from . import channels_last_loops as loops
from .geometry import AvgPoolGeometry, PoolGeometry
from .tables import divisors_of, meetings_of, windows_of

F = TypeVar("F", bound=Callable[..., Any])

WORTH = 1 << 19  # elements: fewer are not worth a second thread


class Shapes(NamedTuple):
    """Of x and of y with three axes of images."""

    x: tuple[int, ...]
    y: tuple[int, ...]


@lru_cache(1024)
def _shapes(g: PoolGeometry) -> Shapes:
    axes = three(g.axes)
    return Shapes((-1, *(axis.extent for axis in axes), g.C), (-1, *(axis.windows for axis in axes), g.C))


def suits(g: PoolGeometry, dtype: np.dtype) -> bool:
    """Whether channels stand last and fill a vector: fewer are pooled faster in planes."""
    return g.channels_last and g.N > 0 and lanes(wide(dtype)) <= g.C


def where_last(compute: F) -> Callable[[F], F]:
    """A path's function that leaves to this one what suits it."""

    def decorate(otherwise: F) -> F:
        @wraps(otherwise)
        def call(*arguments: Any) -> Any:
            return (compute if suits(arguments[-1], arguments[0].dtype) else otherwise)(*arguments)

        return call  # type: ignore[return-value]

    return decorate


def max_pool(x: np.ndarray, geometry: PoolGeometry) -> tuple[np.ndarray, np.ndarray]:
    g, at = geometry, _shapes(geometry)
    y, taps = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, g.tap_dtype)
    constants = *windows_of(g), g.no_tap
    over_images(partial(_over_lines, loops.max_pixels, (at.x, at.y, at.y), constants, at.y), (x,), (y, taps))
    return y, taps


def max_pool_grad(dy: np.ndarray, taps: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    g, at = geometry, _shapes(geometry)
    dx = np.empty(g.x_shape, dy.dtype)
    constants = windows_of(g).kernel, *meetings_of(g)
    over_images(partial(_over_lines, loops.claim_pixels, (at.y, at.y, at.x), constants, at.x), (dy, taps), (dx,))
    return dx


def avg_pool(x: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g, at = geometry, _shapes(geometry)
    y = np.empty(g.y_shape, x.dtype)
    constants = *windows_of(g), divisors_of(g, wide(x.dtype))[0, 0]
    over_images(partial(_over_lines, loops.mean_pixels, (at.x, at.y), constants, at.y), (x,), (y,))
    return y


def avg_pool_grad(dy: np.ndarray, geometry: AvgPoolGeometry) -> np.ndarray:
    g, at = geometry, _shapes(geometry)
    dx = np.empty(g.x_shape, dy.dtype)
    constants = *meetings_of(g), divisors_of(g, wide(dy.dtype))[0, 0]
    over_images(partial(_over_lines, loops.spread_pixels, (at.y, at.x), constants, at.x), (dy,), (dx,))
    return dx


def _over_lines(
    loop: Callable[..., None],
    shapes: tuple[tuple[int, ...], ...],
    constants: tuple[Any, ...],
    result: tuple[int, ...],
    *arrays: np.ndarray,
) -> None:
    """loop(*arrays, *constants, low, high) for lines low:high of the result; the arrays have these shapes."""
    pixels = [a.reshape(shape) for a, shape in zip(arrays, shapes, strict=True)]
    lines, large = len(pixels[0]) * math.prod(result[1:3]), max(a.size for a in arrays)
    over_blocks(lambda low, high: loop(*pixels, *constants, low, high), lines, large // WORTH, arrays[0].dtype)
