"""Convolution and its gradients in plain NumPy: what every other path is judged by."""

from __future__ import annotations

import numpy as np

from ...backend import quietly
from ...batch_invariance import batches
from ..cpu import im2col
from ..cpu.rectified import ended
from ..dtypes import accumulation_dtype
from ..layout import by_channels_first
from .geometry import ConvGeometry


@by_channels_first
def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    y = np.empty(geometry.y_shape, x.dtype)
    bias = None if b is None else b.reshape(geometry.groups, -1)
    for some in batches(geometry.N):
        images, results = _by_group(x[some], 1, geometry), _by_group(y[some], 1, geometry)
        im2col.correlate(images, _by_group(w, 0, geometry), bias, results, geometry.axes)
    return ended(y, geometry.activation)


@by_channels_first
def conv_input_grad(dy: np.ndarray, w: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    return conv_transpose(dy, w, None, geometry)


@by_channels_first
def conv_transpose(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    y = np.empty(g.x_shape, x.dtype)
    bias = None if b is None else b.reshape(g.groups, -1)
    for some in batches(g.N):
        images, results = _by_group(x[some], 1, g), _by_group(y[some], 1, g)
        im2col.input_grad(images, _by_group(w, 0, g), bias, results, g.axes)
    return y


@by_channels_first
def conv_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    dw = np.empty(g.w_shape, x.dtype)
    im2col.weight_grad(_by_group(dy, 1, g), _by_group(x, 1, g), _by_group(dw, 0, g), g.axes)
    return dw


@by_channels_first
@quietly
def conv_bias_grad(dy: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    acc = accumulation_dtype(dy.dtype)
    return dy.sum(axis=(0, *range(2, dy.ndim)), dtype=acc).astype(dy.dtype).reshape(geometry.b_shape)


@by_channels_first
def conv_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    return conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


@by_channels_first
def conv_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: ConvGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return conv_input_grad(dy, w, geometry), *conv_parameter_grads(dy, x, geometry)


def _by_group(a: np.ndarray, axis: int, g: ConvGeometry) -> np.ndarray:
    """A view whose channels are (groups, channels of a group)."""
    return a.reshape(*a.shape[:axis], g.groups, a.shape[axis] // g.groups, *a.shape[axis + 1 :])
