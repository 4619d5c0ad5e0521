"""Convolution and its gradients: every operation picks an algorithm and runs it, or leaves the call to the plain path.

Padding is a border of zeros here, so weights, or a weight gradient, that are not finite are left to it too: no window
must see the NaN that such a product is.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

import numpy as np

from ...backend import quietly
from ..blocked import bands, choose, col2im, depthwise, im2col, rows, shifts
from ..blocked.correlation import Correlation, by_group, spans, weights_by_group
from ..blocked.residues import classes
from ..cpu import threads
from ..dtypes import accumulation_dtype
from . import cpu
from .geometry import ConvGeometry

BIAS_BYTES = 8 << 20  # of dy per block: less is summed before a second thread wakes up


@lru_cache
def correlation_of(g: ConvGeometry) -> Correlation:
    return Correlation(g.N, g.groups, g.C // g.groups, g.K // g.groups, g.axes)


@quietly
def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    c = correlation_of(geometry)
    if choose.is_sparse(c) or not choose.is_finite(w):
        return cpu.conv(x, w, b, geometry)
    y = np.empty(geometry.y_shape, x.dtype)
    bias = None if b is None else b.reshape(c.G, -1)
    x, w, out = by_group(x, c.G), weights_by_group(w, c.G), by_group(y, c.G)
    if choose.is_depthwise(c) and (products := _depthwise_products(c, False, x)):
        products.correlate(x[:, :, 0], w[:, 0, 0], None if bias is None else bias[:, 0], out[:, :, 0], c)
    elif choose.is_depthwise(c):
        depthwise.correlate(x[:, :, 0], w[:, :, 0], bias, out, c)
    else:
        _correlate(x, w, bias, out, c)
    return y


def conv_input_grad(dy: np.ndarray, w: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    return conv_transpose(dy, w, None, geometry)


@quietly
def conv_transpose(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    c = correlation_of(geometry)
    if choose.is_sparse(c) or not choose.is_finite(w):
        return cpu.conv_transpose(x, w, b, geometry)
    y = np.empty(geometry.x_shape, x.dtype)
    bias = None if b is None else b.reshape(c.G, -1)
    x, w, out = by_group(x, c.G), weights_by_group(w, c.G), by_group(y, c.G)
    if choose.is_depthwise(c) and (products := _depthwise_products(c, True, x)):
        products.input_grad(x[:, :, 0], w[:, 0, 0], None if bias is None else bias[:, 0], out[:, :, 0], c)
    elif choose.is_depthwise(c):
        depthwise.input_grad(x, w[:, :, 0], None if bias is None else bias[:, 0], out[:, :, 0], c)
    elif choose.input_grad_by_col2im(c, classes(c)[0].problem):
        col2im.input_grad(x, w, bias, out, c)
    else:
        for part in classes(c):
            _correlate(x, part.kernel(w), bias, part.part(out), part.problem)
    return y


@quietly
def conv_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    c = correlation_of(geometry)
    if choose.is_sparse(c):
        return cpu.conv_weight_grad(dy, x, geometry)
    dw = np.empty(geometry.w_shape, x.dtype)
    gradients, pixels, out = by_group(dy, c.G), by_group(x, c.G), weights_by_group(dw, c.G)
    if choose.is_depthwise(c) and c.stride[0] == 1 and choose.shifts_suit(c, dy, x):
        shifts.weight_grad(dy, x, out[:, 0, 0], c)
    elif choose.is_depthwise(c):
        depthwise.weight_grad(gradients, x, out[:, :, 0], c)
    elif choose.rows_suit(c):
        rows.weight_grad(gradients, pixels, out, c)
    else:
        im2col.weight_grad(gradients, pixels, out, c)
    return dw if choose.is_finite(dw) else cpu.conv_weight_grad(dy, x, geometry)


@quietly
def conv_bias_grad(dy: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """The loops of `einsum` take a third of the time of `sum`."""
    n, k, p, q = dy.shape
    acc = accumulation_dtype(dy.dtype)
    db = np.empty(k, acc)

    def work(k0: int, k1: int) -> None:
        np.einsum("nkpq->k", dy[:, k0:k1], out=db[k0:k1], dtype=acc)

    threads.run(work, spans(k, BIAS_BYTES // max(1, n * p * q * dy.itemsize)), alone=True)
    return db.astype(dy.dtype, copy=False).reshape(k, 1, 1)


def conv_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    return conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


def conv_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: ConvGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return conv_input_grad(dy, w, geometry), conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


def _depthwise_products(c: Correlation, transposed: bool, x: np.ndarray) -> ModuleType | None:
    """How products make a depthwise convolution, or its input gradient (transposed), of x; None: tap by tap."""
    return shifts if choose.shifts_suit(c, x) else bands if choose.bands_suit(c, transposed, x) else None


def _correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation) -> None:
    if choose.rows_suit(c):
        rows.correlate(x, w, b, y, c)
    else:
        im2col.correlate(x, w, b, y, c)
