"""Fully connected layer and its gradients: one matrix product each."""

from __future__ import annotations

import numpy as np

from ..checks import accumulation_dtype
from ..geometry import LinearGeometry


def _product(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    acc = accumulation_dtype(dtype)
    y = a.astype(acc, copy=False) @ b.astype(acc, copy=False)
    if bias is not None:
        y += bias
    return np.ascontiguousarray(y, dtype=dtype)


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: LinearGeometry) -> np.ndarray:
    if geometry.batch_axis == 0:
        return _product(x, w.T, b, x.dtype)
    return _product(w, x, None if b is None else b.reshape(-1, 1), x.dtype)


def linear_input_grad(dy: np.ndarray, w: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy, w, None, dy.dtype) if geometry.batch_axis == 0 else _product(w.T, dy, None, dy.dtype)


def linear_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: LinearGeometry) -> np.ndarray:
    return _product(dy.T, x, None, dy.dtype) if geometry.batch_axis == 0 else _product(dy, x.T, None, dy.dtype)


def linear_bias_grad(dy: np.ndarray, batch_axis: int) -> np.ndarray:
    db = dy.sum(axis=batch_axis, dtype=accumulation_dtype(dy.dtype), keepdims=batch_axis == 1)
    return db.astype(dy.dtype, copy=False)
