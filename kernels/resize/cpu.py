"""Resizing and its gradient in plain NumPy, one axis after the other. Other paths are judged by it.

What has no share in an element is not multiplied by 0 either: an infinity or NaN beside it stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..cpu import threads
from ..cpu.pieces import PIECE, cut, whole
from ..dtypes import accumulation_dtype
from .geometry import Resampling, ResizeGeometry


def upsample(x: np.ndarray, geometry: ResizeGeometry) -> np.ndarray:
    return _by_planes(_resampled, x, geometry.y_shape, geometry)


def upsample_grad(dy: np.ndarray, geometry: ResizeGeometry) -> np.ndarray:
    return _by_planes(_gathered, dy, geometry.x_shape, geometry)


def _resampled(a: np.ndarray, axis: Resampling, place: int) -> np.ndarray:
    """a resized along the axis at this place."""
    before, after, share = axis.sources()
    first = a.take(before, place)
    if not axis.linear:
        return first
    share = share.astype(a.dtype).reshape(-1, *[1] * (a.ndim - place - 1))
    mixed = first * (1 - share) + a.take(after, place) * share
    return np.where(share == 0, first, mixed)


def _gathered(a: np.ndarray, axis: Resampling, place: int) -> np.ndarray:
    """The gradient of _resampled: positions of the result, in their order, added to those that they came from."""
    along = np.moveaxis(a, place, 0)
    result = np.zeros((axis.extent, *along.shape[1:]), a.dtype)
    for gradient, before, after, share in zip(along, *axis.sources(), strict=True):
        if share == 0:
            result[before] += gradient
        else:
            result[before] += gradient * a.dtype.type(1 - share)
            result[after] += gradient * a.dtype.type(share)
    return np.moveaxis(result, 0, place)


def _by_planes(
    along: Callable[[np.ndarray, Resampling, int], np.ndarray],
    given: np.ndarray,
    shape: tuple[int, ...],
    g: ResizeGeometry,
) -> np.ndarray:
    result, acc = np.empty(shape, given.dtype), accumulation_dtype(given.dtype)

    def work(n: slice, c: slice) -> None:
        part = given[n, c].astype(acc, copy=False)
        for place, axis in enumerate(g.axes, start=2):
            part = along(part, axis, place)
        result[n, c] = part

    plane = math.prod(map(max, g.extents, g.size))
    threads.run(work, list(cut(whole(g.N, g.C), max(1, PIECE // plane))), 6 * PIECE * 8)
    return result
