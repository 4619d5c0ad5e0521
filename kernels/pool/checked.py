"""The operations along any number of axes: each runs its arrays' path on its checked arguments and their geometry.

The public functions are these with their rank; options are theirs, and so are the names of errors.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .. import checks
from ..dispatch import Paths
from ..layout import NCHW, is_channels_last, shape, windows_text
from ..types import A, Array, PerAxis, Shape
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry
from .path import PoolPath

_paths = Paths[PoolPath]("pool")
path_of, _call = _paths.of, _paths.call

Options: TypeAlias = dict[str, Any]
Checked: TypeAlias = tuple[Any, ...]


def max_pool(rank: int, x: A, kernel_size: PerAxis, **options: Any) -> tuple[A, Any]:
    return _call("max_pool", _max_pool, (x,), rank, kernel_size, options)


def _max_pool(x: Any, rank: int, kernel_size: PerAxis, options: Options) -> Checked:
    operation = f"max_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    return x, PoolGeometry.of(operation, x.shape, kernel_size, rank=rank, **options)


def max_pool_grad(rank: int, dy: A, taps: Array, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> A:
    return _call("max_pool_grad", _max_pool_grad, (dy, taps), rank, x_shape, kernel_size, options)


def _max_pool_grad(dy: Any, taps: Any, rank: int, x_shape: Shape, kernel_size: PerAxis, options: Options) -> Checked:
    operation = f"max_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    dy, taps = checks.one_library(operation, dy=dy, taps=taps)
    geometry = PoolGeometry.of(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_windows(operation, "dy", dy, geometry)
    _check_taps(operation, taps, geometry)
    return dy, taps, geometry


def max_pool_indices(rank: int, taps: Array, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> Any:
    return _call("max_pool_indices", _max_pool_indices, (taps,), rank, x_shape, kernel_size, options)


def _max_pool_indices(taps: Any, rank: int, x_shape: Shape, kernel_size: PerAxis, options: Options) -> Checked:
    operation = f"max_pool{rank}d_indices"
    (taps,) = checks.one_library(operation, taps=taps)
    geometry = PoolGeometry.of(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_taps(operation, taps, geometry)
    return taps, geometry


def avg_pool(rank: int, x: A, kernel_size: PerAxis, **options: Any) -> A:
    return _call("avg_pool", _avg_pool, (x,), rank, kernel_size, options)


def _avg_pool(x: Any, rank: int, kernel_size: PerAxis, options: Options) -> Checked:
    operation = f"avg_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    return x, AvgPoolGeometry.of_average(operation, x.shape, kernel_size, rank=rank, **options)


def avg_pool_grad(rank: int, dy: A, x_shape: Shape, kernel_size: PerAxis, **options: Any) -> A:
    return _call("avg_pool_grad", _avg_pool_grad, (dy,), rank, x_shape, kernel_size, options)


def _avg_pool_grad(dy: Any, rank: int, x_shape: Shape, kernel_size: PerAxis, options: Options) -> Checked:
    operation = f"avg_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    geometry = AvgPoolGeometry.of_average(operation, x_shape, kernel_size, rank=rank, name="x_shape", **options)
    _check_windows(operation, "dy", dy, geometry)
    return dy, geometry


def adaptive_avg_pool(rank: int, x: A, output_size: PerAxis, layout: str = NCHW) -> A:
    return _call("adaptive_avg_pool", _adaptive_avg_pool, (x,), rank, output_size, layout)


def _adaptive_avg_pool(x: Any, rank: int, output_size: PerAxis, layout: str) -> Checked:
    operation = f"adaptive_avg_pool{rank}d"
    (x,) = checks.arrays(operation, x=x)
    return x, AdaptivePoolGeometry.of(operation, x.shape, output_size=output_size, layout=layout, rank=rank)


def adaptive_avg_pool_grad(rank: int, dy: A, x_shape: Shape, layout: str = NCHW) -> A:
    return _call("adaptive_avg_pool_grad", _adaptive_avg_pool_grad, (dy,), rank, x_shape, layout)


def _adaptive_avg_pool_grad(dy: Any, rank: int, x_shape: Shape, layout: str) -> Checked:
    operation = f"adaptive_avg_pool{rank}d_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    last = is_channels_last(operation, layout)
    _, _, *windows = shape(operation, "dy.shape", dy.shape, ("N", "C", *"ZPQ"[-rank:]), last)
    geometry = AdaptivePoolGeometry.of(
        operation, x_shape, output_size=windows, layout=layout, name="x_shape", rank=rank
    )
    _check_windows(operation, "dy", dy, geometry)
    return dy, geometry


def _check_windows(operation: str, argument: str, array: Any, geometry: PoolGeometry | AdaptivePoolGeometry) -> None:
    axes = windows_text("C", geometry.rank, geometry.channels_last)
    checks.has_shape(operation, argument, array, geometry.y_shape, axes)


def _check_taps(operation: str, taps: Any, geometry: PoolGeometry) -> None:
    if taps.dtype != geometry.tap_dtype:
        rank, window = geometry.rank, "x".join(map(str, geometry.kernel_size))
        expected = f"{geometry.tap_dtype}, as max_pool{rank}d returns for a {window} window"
        raise checks.type_error(operation, "taps.dtype", taps.dtype, expected)
    _check_windows(operation, "taps", taps, geometry)
