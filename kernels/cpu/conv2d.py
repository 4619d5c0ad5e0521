"""Convolution and its gradients: every operation picks an algorithm and runs it."""

from __future__ import annotations

import numpy as np

from ..geometry import Conv2dGeometry
from . import bands, choose, col2im, depthwise, im2col, winograd
from .correlation import Correlation
from .residues import classes


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    y = np.empty(g.y_shape, x.dtype)
    bias = None if b is None else b.reshape(g.groups, -1)
    x, w, out = by_group(x, g), weights_by_group(w, g), by_group(y, g)
    if choose.is_depthwise(g) and choose.bands_suit(g, x):
        bands.correlate(x[:, :, 0], w[:, 0, 0], None if bias is None else bias[:, 0], out[:, :, 0], g)
    elif choose.is_depthwise(g):
        depthwise.correlate(x[:, :, 0], w[:, :, 0], bias, out, g)
    else:
        _correlate(x, w, bias, out, Correlation.forward(g))
    return y


def conv2d_input_grad(dy: np.ndarray, w: np.ndarray, geometry: Conv2dGeometry) -> np.ndarray:
    return conv_transpose2d(dy, w, None, geometry)


def conv_transpose2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    y = np.empty(g.x_shape, x.dtype)
    bias = None if b is None else b.reshape(g.groups, -1)
    x, w, out = by_group(x, g), weights_by_group(w, g), by_group(y, g)
    if choose.is_depthwise(g) and choose.bands_suit(g, x):
        bands.input_grad(x[:, :, 0], w[:, 0, 0], None if bias is None else bias[:, 0], out[:, :, 0], g)
    elif choose.is_depthwise(g):
        depthwise.input_grad(x, w[:, :, 0], None if bias is None else bias[:, 0], out[:, :, 0], g)
    elif choose.input_grad_by_col2im(g):
        col2im.input_grad(x, w, bias, out, g)
    else:
        for part in classes(g):
            _correlate(x, part.kernel(w), bias, part.part(out), part.problem)
    return y


def conv2d_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    dw = np.empty(g.w_shape, x.dtype)
    c = Correlation.forward(g)
    dy, x, out = by_group(dy, g), by_group(x, g), weights_by_group(dw, g)
    if choose.is_depthwise(g):
        depthwise.weight_grad(dy, x[:, :, 0], out[:, :, 0], g)
    elif m := choose.winograd_tile(c, dy, x):
        winograd.weight_grad(dy, x, out, c, m)
    else:
        im2col.weight_grad(dy, x, out, c)
    return dw


def conv2d_bias_grad(dy: np.ndarray) -> np.ndarray:
    acc = im2col.sum_dtype(dy)
    return dy.sum(axis=(0, 2, 3), dtype=acc).astype(dy.dtype).reshape(-1, 1, 1)


def _correlate(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, y: np.ndarray, c: Correlation) -> None:
    if m := choose.winograd_tile(c, x):
        winograd.correlate(x, w, b, y, c, m)
    else:
        im2col.correlate(x, w, b, y, c)


def by_group(a: np.ndarray, g: Conv2dGeometry) -> np.ndarray:
    """An array (N, C, H, W) as a view (N, groups, C/groups, H, W)."""
    return a.reshape(a.shape[0], g.groups, a.shape[1] // g.groups, *a.shape[2:])


def weights_by_group(w: np.ndarray, g: Conv2dGeometry) -> np.ndarray:
    """Weights (K, C/groups, R, S) as a view (groups, K/groups, C/groups, R, S)."""
    return w.reshape(g.groups, g.K // g.groups, *w.shape[1:])
