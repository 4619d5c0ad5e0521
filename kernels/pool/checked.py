"""The operations along any number of axes: each checks its arguments, fixes the geometry and runs its arrays' path.

The public functions are these with their rank; options are theirs, and so are the names of errors.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A, Array, PerAxis, Shape
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry
from .path import PoolPath

path_of = Paths[PoolPath]("pool").of


def max_pool(rank: int, x: A, kernel_size: PerAxis, **options: Any) -> tuple[A, Any]:
    operation = f"max_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    return path_of(x).max_pool(x, PoolGeometry.of(operation, x.shape, kernel_size, rank=rank, **options))


def max_pool_grad(rank: int, dy: A, taps: Array, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> A:
    operation = f"max_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    dy, taps = checks.one_library(operation, dy=dy, taps=taps)
    geometry = PoolGeometry.of(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_windows(operation, "dy", dy, geometry)
    _check_taps(operation, taps, geometry)
    return path_of(dy).max_pool_grad(dy, taps, geometry)


def max_pool_indices(rank: int, taps: Array, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> Any:
    operation = f"max_pool{rank}d_indices"
    (taps,) = checks.one_library(operation, taps=taps)
    geometry = PoolGeometry.of(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_taps(operation, taps, geometry)
    return path_of(taps).max_pool_indices(taps, geometry)


def avg_pool(rank: int, x: A, kernel_size: PerAxis, **options: Any) -> A:
    operation = f"avg_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    return path_of(x).avg_pool(x, AvgPoolGeometry.of_average(operation, x.shape, kernel_size, rank=rank, **options))


def avg_pool_grad(rank: int, dy: A, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> A:
    operation = f"avg_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    geometry = AvgPoolGeometry.of_average(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_windows(operation, "dy", dy, geometry)
    return path_of(dy).avg_pool_grad(dy, geometry)


def adaptive_avg_pool(rank: int, x: A, output_size: PerAxis) -> A:
    operation = f"adaptive_avg_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    geometry = AdaptivePoolGeometry.of(operation, x.shape, output_size=output_size, rank=rank)
    return path_of(x).adaptive_avg_pool(x, geometry)


def adaptive_avg_pool_grad(rank: int, dy: A, x_shape: Shape) -> A:
    operation = f"adaptive_avg_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    _, _, *windows = checks.shape(operation, "dy.shape", dy.shape, ("N", "C", *"ZPQ"[-rank:]))
    geometry = AdaptivePoolGeometry.of(operation, x_shape, output_size=windows, name="x_shape", rank=rank)
    _check_windows(operation, "dy", dy, geometry)
    return path_of(dy).adaptive_avg_pool_grad(dy, geometry)


def _check_windows(operation: str, argument: str, array: Any, geometry: PoolGeometry | AdaptivePoolGeometry) -> None:
    checks.has_shape(operation, argument, array, geometry.y_shape, checks.windows_text("C", len(geometry.windows)))


def _check_taps(operation: str, taps: Any, geometry: PoolGeometry) -> None:
    if taps.dtype != geometry.tap_dtype:
        rank, window = geometry.rank, "x".join(map(str, geometry.kernel_size))
        expected = f"{geometry.tap_dtype}, as max_pool{rank}d returns for a {window} window"
        raise checks.type_error(operation, "taps.dtype", taps.dtype, expected)
    _check_windows(operation, "taps", taps, geometry)
