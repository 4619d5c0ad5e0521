"""Fully connected layer and its gradients: one matrix product each, cut by shape alone into tiles of the result."""

from __future__ import annotations

import numpy as np

from ..checks import Pair, accumulation_dtype
from ..geometry import LinearGeometry
from . import threads
from .correlation import spans

TILE = 256  # rows and columns of the result
DEPTH = 1024  # products of 16-bit operands that are converted at a time
SMALL = 1 << 18  # multiply-adds that OpenBLAS keeps to one thread by itself (its interface/gemm.c)


def _product(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a (m, k) times b (k, n), plus a bias that broadcasts to (m, n): summed in the accumulator, rounded once."""
    (m, k), n = a.shape, b.shape[1]
    y = np.empty((m, n), a.dtype)
    acc = accumulation_dtype(a.dtype)
    shift = None if bias is None else np.broadcast_to(bias, y.shape)

    def work(rows: Pair, columns: Pair) -> None:
        i, j = slice(*rows), slice(*columns)
        tile = y[i, j]
        total = tile if tile.dtype == acc else np.zeros(tile.shape, acc)
        if total is tile:
            np.matmul(a[i], b[:, j], out=total)
        else:
            for k0, k1 in spans(k, DEPTH):
                total += a[i, k0:k1].astype(acc) @ b[k0:k1, j].astype(acc)
        if shift is not None:
            total += shift[i, j]
        if total is not tile:
            tile[...] = total

    if acc == y.dtype and min(m, n) > 1 and m * k * n <= SMALL:
        work((0, m), (0, n))
    else:
        scratch = 0 if acc == y.dtype else 3 * TILE * DEPTH * acc.itemsize
        threads.run(work, [(rows, columns) for rows in spans(m, TILE) for columns in spans(n, TILE)], scratch)
    return y


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: LinearGeometry) -> np.ndarray:
    if geometry.batch_axis == 0:
        return _product(x, w.T, b)
    return _product(w, x, None if b is None else b.reshape(-1, 1))


def linear_input_grad(dy: np.ndarray, w: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy, w) if geometry.batch_axis == 0 else _product(w.T, dy)


def linear_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy.T, x) if geometry.batch_axis == 0 else _product(dy, x.T)


@np.errstate(all="ignore")
def linear_bias_grad(dy: np.ndarray, batch_axis: int) -> np.ndarray:
    db = dy.sum(axis=batch_axis, dtype=accumulation_dtype(dy.dtype), keepdims=batch_axis == 1)
    return db.astype(dy.dtype, copy=False)


def linear_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> tuple[np.ndarray, np.ndarray]:
    return linear_weight_grad(dy, x, geometry), linear_bias_grad(dy, geometry.batch_axis)
