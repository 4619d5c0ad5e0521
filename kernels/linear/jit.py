"""A fully connected layer and its gradients: compiled loops for small products, BLAS for the others, which large ones
cut by shape alone into a few parts; what is no float32 or float64 runs on the plain page.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...batch_invariance import get_batch_invariant
from ..cpu import threads
from ..jit.compiled import compiled, contiguous, regrouped, suits
from ..jit.epilogue import bias_of, end_columns, end_line, end_rows, kink_of
from ..jit.reduce import channel_sums, column_sums
from . import cpu
from .geometry import LinearGeometry

SMALL = 1 << 15  # products: BLAS takes longer to begin
PARTS = 4  # of a large product, each of which reads the whole of one operand
PART_FLOPS = 30_000_000  # less is computed before another thread has woken up


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: LinearGeometry) -> np.ndarray:
    g = geometry
    if not suits(x, w, b) or get_batch_invariant():
        return cpu.linear(x, w, b, g)
    x, w = contiguous(x, w)
    bias, kink = bias_of(b, g.O, g.activation, x.dtype), kink_of(g.activation, x.dtype)
    if g.batch_axis == 1:
        return _product(w, x, bias, kink, of_rows=True)
    if g.N * g.F * g.O > SMALL:
        return _product(x, w.T, bias, kink)
    y = np.empty((g.N, g.O), x.dtype)
    _rows_by_rows(x, w, np.zeros(g.O, x.dtype) if bias is None else bias, kink, y)
    return y


def linear_input_grad(dy: np.ndarray, w: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    g = geometry
    if not suits(dy, w) or get_batch_invariant():
        return cpu.linear_input_grad(dy, w, g)
    dy, w = contiguous(dy, w)
    if g.batch_axis == 1:
        return _product(w.T, dy)
    if g.N * g.F * g.O > SMALL:
        return _product(dy, w)
    dx = np.empty((g.N, g.F), dy.dtype)
    _rows_by_columns(dy, w, dx)
    return dx


def linear_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    g = geometry
    if not suits(dy, x):
        return cpu.linear_weight_grad(dy, x, g)
    dy, x = contiguous(dy, x)
    if g.batch_axis == 1:
        return _product(dy, x.T)
    if g.N * g.F * g.O > SMALL:
        return _product(dy.T, x)
    dw = np.empty((g.O, g.F), dy.dtype)
    _columns_by_columns(dy, x, dw)
    return dw


def linear_bias_grad(dy: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    if not suits(dy):
        return cpu.linear_bias_grad(dy, geometry)
    (dy,) = contiguous(dy)
    if geometry.batch_axis == 1:
        return channel_sums(dy[None]).reshape(geometry.b_shape)
    db = np.empty(geometry.b_shape, dy.dtype)
    column_sums(dy, db)
    return db


def linear_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> tuple[np.ndarray, np.ndarray]:
    return linear_weight_grad(dy, x, geometry), linear_bias_grad(dy, geometry)


def linear_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: LinearGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return linear_input_grad(dy, w, geometry), *linear_parameter_grads(dy, x, geometry)


def _product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None, kink: Any = None, *, of_rows: bool = False
) -> np.ndarray:
    """a (m, k) times b (k, n), plus a bias of its columns or rows, 0 where that is at most the kink (epilogue.py)."""
    (m, k), n = a.shape, b.shape[1]
    y = np.empty((m, n), a.dtype)
    count = min(PARTS, 2 * m * k * n // PART_FLOPS)
    if count < 2:
        threads.run(np.matmul, [(a, b, y)], alone=threads.is_small(m, k, n))
        if bias is not None:
            (end_rows if of_rows else end_columns)(y, bias, kink, 0, n)
        return y

    def work(rows: slice, columns: slice) -> None:
        np.matmul(a[rows], b[:, columns], out=y[rows, columns])
        if bias is None:
            return
        if of_rows:
            end_rows(y[rows], bias[rows], kink, columns.start, columns.stop)
        else:
            end_columns(y[rows], bias, kink, columns.start, columns.stop)

    length = -(-max(m, n) // count)
    parts = [slice(i, i + length) for i in range(0, max(m, n), length)]
    threads.run(work, [(part, slice(0, n)) if m > n else (slice(0, m), part) for part in parts])
    return y


@regrouped
def _rows_by_rows(a, b, bias, kink, y):
    """y = a bᵀ + bias, and what an activation makes of that."""
    for i in range(len(a)):
        row = a[i]
        for j in range(len(b)):
            other, total = b[j], a.dtype.type(0)
            for t in range(row.size):
                total += row[t] * other[t]
            y[i, j] = total
        end_line(y[i], bias, kink)


@compiled
def _rows_by_columns(a, b, y):
    """y = a b."""
    y[:] = 0
    for i in range(len(a)):
        out = y[i]
        for t in range(len(b)):
            factor, row = a[i, t], b[t]
            for j in range(row.size):
                out[j] += factor * row[j]


@compiled
def _columns_by_columns(a, b, y):
    """y = aᵀ b."""
    y[:] = 0
    for t in range(len(a)):
        row = b[t]
        for i in range(a.shape[1]):
            factor, out = a[t, i], y[i]
            for j in range(row.size):
                out[j] += factor * row[j]
