"""A fully connected layer and its gradients in plain NumPy: one product each. Other paths are judged by it."""

from __future__ import annotations

from itertools import product

import numpy as np

from ...backend import quietly
from ...batch_invariance import get_batch_invariant
from ..cpu import threads
from ..cpu.pieces import cut, whole
from ..cpu.rectified import ended
from ..dtypes import accumulation_dtype
from .geometry import LinearGeometry

SIDE = 1 << 9  # of the matrices that are multiplied at a time


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: LinearGeometry) -> np.ndarray:
    if geometry.batch_axis == 0:
        y = _product(x, w.T, b, batch_axis=0)
    else:
        y = _product(w, x, None if b is None else b.reshape(-1, 1), batch_axis=1)
    return ended(y, geometry.activation)


def linear_input_grad(dy: np.ndarray, w: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy, w, batch_axis=0) if geometry.batch_axis == 0 else _product(w.T, dy, batch_axis=1)


def linear_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy.T, x) if geometry.batch_axis == 0 else _product(dy, x.T)


@quietly
def linear_bias_grad(dy: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    acc = accumulation_dtype(dy.dtype)
    return dy.sum(axis=geometry.batch_axis, keepdims=geometry.batch_axis == 1, dtype=acc).astype(dy.dtype)


def linear_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> tuple[np.ndarray, np.ndarray]:
    return linear_weight_grad(dy, x, geometry), linear_bias_grad(dy, geometry)


def linear_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: LinearGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return linear_input_grad(dy, w, geometry), *linear_parameter_grads(dy, x, geometry)


def _product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, *, batch_axis: int | None = None
) -> np.ndarray:
    """a (m, k) times b (k, n), plus a bias that broadcasts: summed in the accumulator, rounded once.

    batch_axis: that of the result's samples, None where they are summed over.
    """
    acc = accumulation_dtype(a.dtype)
    multiply = np.matmul if batch_axis is None or not get_batch_invariant() else _EACH_SAMPLE[batch_axis]
    y = np.empty((a.shape[0], b.shape[1]), a.dtype)
    (depth,) = whole(a.shape[1])

    def work(i: slice, j: slice) -> None:
        total = np.zeros(y[i, j].shape, acc)
        if bias is not None:
            total += np.broadcast_to(bias, y.shape)[i, j]
        for (k,) in cut((depth,), SIDE):
            total += multiply(np.ascontiguousarray(a[i, k], acc), np.ascontiguousarray(b[k, j], acc))
        y[i, j] = total

    rows, columns = whole(*y.shape)
    pieces = [(i, j) for (i,), (j,) in product(cut((rows,), SIDE), cut((columns,), SIDE))]
    alone = threads.is_small(a.shape[0], *b.shape)
    threads.run(work, pieces, 4 * SIDE * SIDE * acc.itemsize, alone)
    return y


_EACH_SAMPLE = (lambda a, b: (a[:, None] @ b)[:, 0], lambda a, b: (a @ np.ascontiguousarray(b.T)[:, :, None])[..., 0].T)
"""Products of matrices whose rows, or columns, are samples, each in a product of its own."""
