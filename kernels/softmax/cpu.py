"""Softmax and its gradients in plain NumPy. Other paths are judged by it.

16-bit rows are computed with in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cpu import threads
from ..cpu.pieces import PIECES, cut, whole
from ..dtypes import accumulation_dtype
from .geometry import SoftmaxGeometry

LEAST, MOST = 1 << 14, 1 << 16  # elements of a piece of work: a function's several temporaries stay in cache


def softmax(x: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    def of_rows(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        e /= e.sum(axis=1, keepdims=True)
        return e

    return _by_rows(of_rows, geometry, x)


def softmax_grad(dy: np.ndarray, y: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _by_rows(lambda dy, y: y * (dy - (dy * y).sum(axis=1, keepdims=True)), geometry, dy, y)


def log_softmax(x: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    def of_rows(x: np.ndarray) -> np.ndarray:
        z = x - x.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    return _by_rows(of_rows, geometry, x)


def log_softmax_grad(dy: np.ndarray, y: np.ndarray, geometry: SoftmaxGeometry) -> np.ndarray:
    return _by_rows(lambda dy, y: dy - np.exp(y) * dy.sum(axis=1, keepdims=True), geometry, dy, y)


def _by_rows(compute: Callable[..., np.ndarray], g: SoftmaxGeometry, *arrays: np.ndarray) -> np.ndarray:
    """compute of (outer, length, inner) arrays, some rows at a time."""
    result = np.empty(g.x_shape, arrays[0].dtype)
    if result.size == 0:
        return result
    acc = accumulation_dtype(result.dtype)
    shape = (g.outer, g.length, g.inner)
    rows, given = result.reshape(shape), [np.ascontiguousarray(a).reshape(shape) for a in arrays]

    def work(outer: slice, inner: slice) -> None:
        rows[outer, :, inner] = compute(*(a[outer, :, inner].astype(acc, copy=False) for a in given))

    most = max(1, min(MOST, max(LEAST, result.size // PIECES)) // g.length)
    threads.run(work, list(cut(whole(g.outer, g.inner), most)), 8 * MOST * acc.itemsize, alone=True)
    return result
