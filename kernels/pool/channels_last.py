"""Pooling on the GPU, channels last: a thread computes a word of neighbouring channels at one pixel, or shares the
window of a word where windows are few and large.

Functions of a path (path.py), for geometries whose channels are last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from ...batch_invariance import get_batch_invariant
from ..cuda.runtime.arrays import ALIGNMENT, address, chunks, contiguous
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.windows import THREADS, Tiling, axes_macro, check_offsets, largest_power_of_two, window_values
from ..layout import NHWC
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry
from .values import adaptive_values, average_values, tap_defines

F = TypeVar("F", bound=Callable[..., Any])

_UNROLLED_TAPS = 9
"""Of a slice of a window, all of whose words are under way at once."""

_LEAST_TAPS = 4
"""Of a thread that shares a window."""

_ENOUGH_THREADS = 2**16
"""More to a window gain nothing: those there are have enough words under way."""


def either_layout(compute_last: F) -> Callable[[F], F]:
    """A path's function, beside that for channels last."""

    def decorate(compute: F) -> F:
        @wraps(compute)
        def call(*arguments: Any) -> Any:
            return (compute_last if arguments[-1].channels_last else compute)(*arguments)

        return call  # type: ignore[return-value]

    return decorate


def max_pool(x: Any, geometry: PoolGeometry) -> tuple[Any, Any]:
    x, y, taps = contiguous(x), empty(geometry.y_shape, x.dtype), empty(geometry.y_shape, geometry.tap_dtype)
    _launch_windows("max_pool_nhwc", geometry, {"x": x}, {"y": y, "taps": taps}, tap_defines(geometry))
    return y, taps


def max_pool_grad(dy: Any, taps: Any, geometry: PoolGeometry) -> Any:
    dy, taps, dx = contiguous(dy), contiguous(taps), empty(geometry.x_shape, dy.dtype)
    _launch_windows("max_pool_grad_nhwc", geometry, {"dy": dy, "taps": taps}, {"dx": dx}, tap_defines(geometry))
    return dx


def avg_pool(x: Any, geometry: AvgPoolGeometry) -> Any:
    x, y = contiguous(x), empty(geometry.y_shape, x.dtype)
    _launch_windows("avg_pool_nhwc", geometry, {"x": x}, {"y": y}, average=average_values(geometry))
    return y


def avg_pool_grad(dy: Any, geometry: AvgPoolGeometry) -> Any:
    dy, dx = contiguous(dy), empty(geometry.x_shape, dy.dtype)
    _launch_windows("avg_pool_grad_nhwc", geometry, {"dy": dy}, {"dx": dx}, average=average_values(geometry))
    return dx


def adaptive_avg_pool(x: Any, geometry: AdaptivePoolGeometry) -> Any:
    g = geometry
    if math.prod(g.windows) == 1:  # every share is the whole
        return avg_pool(
            x, AvgPoolGeometry.of_average("adaptive_avg_pool", g.x_shape, g.extents, layout=NHWC, rank=g.rank)
        )
    x, y = contiguous(x), empty(geometry.y_shape, x.dtype)
    _launch_adaptive("adaptive_avg_pool_nhwc", geometry, {"x": x}, {"y": y})
    return y


def adaptive_avg_pool_grad(dy: Any, geometry: AdaptivePoolGeometry) -> Any:
    dy, dx = contiguous(dy), empty(geometry.x_shape, dy.dtype)
    _launch_adaptive("adaptive_avg_pool_grad_nhwc", geometry, {"dy": dy}, {"dx": dx})
    return dx


def _launch_windows(
    name: str,
    g: PoolGeometry,
    given: dict[str, Any],
    results: dict[str, Any],
    defines: dict[str, object] | None = None,
    **values: Any,
) -> None:
    check_offsets(g)
    # a gradient's windows are those that cover a pixel, which are no constants
    unrolled = "dx" not in results and math.prod(g.kernel_size[-2:]) <= _UNROLLED_TAPS
    array = next(iter(given.values()))
    vec = _vec(g, given | results)
    lanes = 1 if unrolled or "dx" in results else _lanes(g, vec)
    defines = Tiling(unrolled, lanes=lanes).defines(g, array.dtype) | (defines or {})
    _launch(name, defines, g, given, results, lanes, windows=window_values(g), **values)


def _launch_adaptive(name: str, g: AdaptivePoolGeometry, given: dict[str, Any], results: dict[str, Any]) -> None:
    (array,) = results.values()
    defines = {"TYPE": C_TYPES[array.dtype.name], "AXES": axes_macro(g.rank), "THREADS": THREADS}
    _launch(name, defines, g, given, results, pool=adaptive_values(name, g))


def _launch(
    name: str,
    defines: dict[str, object],
    g: PoolGeometry | AdaptivePoolGeometry,
    given: dict[str, Any],
    results: dict[str, Any],
    lanes: int = 1,
    **values: Any,
) -> None:
    """Run a kernel that has so many threads for each word of its results."""
    if g.C == 0:
        return
    arrays = given | results
    vec = _vec(g, arrays)
    of_result = next(iter(results.values())).shape[1:-1]
    image = g.C * max(math.prod(g.extents), math.prod(g.windows))
    check_index(name, image=image)
    for first, images in chunks(g.N, image):
        pixels = _pixels(images, of_result, g.C // vec)
        launch(
            f"{name}.cu",
            name,
            {**defines, "VEC": vec},
            -(-pixels["number"] * lanes // THREADS),
            THREADS,
            0,
            pixels=pixels,
            **{key: address(a, first, math.prod(a.shape[1:])) for key, a in arrays.items()},
            **values,
        )


def _vec(g: PoolGeometry | AdaptivePoolGeometry, arrays: dict[str, Any]) -> int:
    """Elements of a word."""
    return largest_power_of_two(g.C, ALIGNMENT // max(a.itemsize for a in arrays.values()))


def _lanes(g: PoolGeometry, vec: int) -> int:
    """Threads that share a window; as one image needs them where its bits have to be the same in every batch."""
    words, lanes = (1 if get_batch_invariant() else g.N) * math.prod(g.windows) * g.C // vec, 1
    most = min(THREADS, math.prod(g.kernel_size) // _LEAST_TAPS)
    while 2 * lanes <= most and words * lanes < _ENOUGH_THREADS:
        lanes *= 2
    return lanes


def _pixels(images: int, extents: Sequence[int], words: int) -> dict[str, Any]:
    """The struct Pixels of pixels.cuh."""
    slices, rows, columns = (1,) * (3 - len(extents)) + tuple(extents)
    divisors = {"words": words, "columns": columns, "rows": rows, "slices": slices}
    return {"number": images * math.prod(divisors.values()), **{key: fast_div(n) for key, n in divisors.items()}}
