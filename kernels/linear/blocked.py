"""Fully connected layer and its gradients: one matrix product each; large ones cut by shape alone into a few parts."""

from __future__ import annotations

import numpy as np

from ...backend import quietly
from ..blocked.correlation import BLOCK_FLOPS, spans
from ..checks import Pair
from ..cpu import threads
from ..dtypes import accumulation_dtype
from .geometry import LinearGeometry

TILE = 256  # rows and columns of a 16-bit result that are computed at a time
DEPTH = 1024  # products of 16-bit operands that are converted at a time
PARTS = 4  # of a large product, each of which reads the whole of one operand


@quietly
def _product(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """a (m, k) times b (k, n), plus a bias (1, n) or (m, 1): summed in the accumulator, rounded once."""
    (m, k), n = a.shape, b.shape[1]
    y = np.empty((m, n), a.dtype)
    acc = accumulation_dtype(a.dtype)

    def work(rows: Pair, columns: Pair) -> None:
        i, j = slice(*rows), slice(*columns)
        total = y[i, j]
        if acc == y.dtype:
            np.matmul(a[i], b[:, j], out=total)
        else:
            total = np.zeros(total.shape, acc)
            for k0, k1 in spans(k, DEPTH):
                total += a[i, k0:k1].astype(acc) @ b[k0:k1, j].astype(acc)
        if bias is not None:
            total += bias[i] if bias.shape == (m, 1) else bias[:, j]
        if acc != y.dtype:
            y[i, j] = total

    if acc != y.dtype:
        tiles = [(rows, columns) for rows in spans(m, TILE) for columns in spans(n, TILE)]
        threads.run(work, tiles, 3 * TILE * DEPTH * acc.itemsize)
    elif threads.is_small(m, k, n):
        work((0, m), (0, n))
    else:
        part = -(-max(m, n) // max(1, min(PARTS, 2 * m * k * n // BLOCK_FLOPS)))
        rows, columns = (spans(m, part), spans(n, n)) if m > n else (spans(m, m), spans(n, part))
        threads.run(work, [(some, others) for some in rows for others in columns])
    return y


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: LinearGeometry) -> np.ndarray:
    if geometry.batch_axis == 0:
        return _product(x, w.T, None if b is None else b.reshape(1, -1))
    return _product(w, x, None if b is None else b.reshape(-1, 1))


def linear_input_grad(dy: np.ndarray, w: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy, w) if geometry.batch_axis == 0 else _product(w.T, dy)


def linear_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy.T, x) if geometry.batch_axis == 0 else _product(dy, x.T)


@quietly
def linear_bias_grad(dy: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    """Where samples are columns, the loops of `einsum` take a quarter of the time of `sum`."""
    acc = accumulation_dtype(dy.dtype)
    db = dy.sum(axis=0, dtype=acc) if geometry.batch_axis == 0 else np.einsum("on->o", dy, dtype=acc)[:, None]
    return db.astype(dy.dtype, copy=False)


def linear_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> tuple[np.ndarray, np.ndarray]:
    return linear_weight_grad(dy, x, geometry), linear_bias_grad(dy, geometry)


def linear_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: LinearGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return linear_input_grad(dy, w, geometry), *linear_parameter_grads(dy, x, geometry)
