"""Convolution by others: as a textbook writes it in NumPy, in PyTorch, and by cuBLAS where it is a matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..layout import by_channels_first
from ..peers import (
    Array,
    activated,
    padded,
    slices,
    symmetric_padding,
    torch_activated,
    torch_empty,
    torch_function,
    torch_layout,
    unpadded,
)
from .geometry import ConvGeometry


def _matrix(w: Array, g: ConvGeometry) -> Array:
    """The weights as matrices: (groups, K / groups, C / groups * taps)."""
    return w.reshape(g.groups, g.K // g.groups, math.prod(g.w_shape[1:]))


def _columns(image: Array, g: ConvGeometry) -> Array:
    """im2col of one padded image: (groups, C / groups * taps, windows)."""
    columns = np.empty((g.C, math.prod(g.kernel_size), *g.windows), image.dtype)
    for number, met in enumerate(slices(g)):
        columns[:, number] = image[met]
    return columns.reshape(g.groups, math.prod(g.w_shape[1:]), math.prod(g.windows))


def _by_group(y: Array, g: ConvGeometry) -> Array:
    """One image of an output: (groups, K / groups, windows)."""
    return y.reshape(g.groups, g.K // g.groups, math.prod(g.windows))


@by_channels_first
def conv(x: Array, w: Array, b: Array, g: ConvGeometry) -> Array:
    x, y = padded(x, g), np.empty(g.y_shape, x.dtype)
    for n in range(g.N):
        y[n] = (_matrix(w, g) @ _columns(x[n], g)).reshape(g.y_shape[1:]) + b.reshape(g.b_shape)
    return activated(y, g)


@by_channels_first
def conv_input_grad(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = padded(np.zeros(g.x_shape, dy.dtype), g)
    for n in range(g.N):
        columns = _matrix(w, g).transpose(0, 2, 1) @ _by_group(dy[n], g)
        columns = columns.reshape(g.C, math.prod(g.kernel_size), *g.windows)
        for number, met in enumerate(slices(g)):
            dx[n][met] += columns[:, number]
    return unpadded(dx, g)


@by_channels_first
def conv_weight_grad(dy: Array, x: Array, g: ConvGeometry) -> Array:
    x, dw = padded(x, g), np.zeros(g.w_shape, dy.dtype)
    for n in range(g.N):
        dw += (_by_group(dy[n], g) @ _columns(x[n], g).transpose(0, 2, 1)).reshape(g.w_shape)
    return dw


@by_channels_first
def conv_bias_grad(dy: Array, g: ConvGeometry) -> Array:
    return dy.sum(axis=(0, *range(2, dy.ndim))).reshape(g.b_shape)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "conv": conv,
    "conv_input_grad": conv_input_grad,
    "conv_weight_grad": conv_weight_grad,
    "conv_bias_grad": conv_bias_grad,
}


@torch_layout
def _torch_conv(x: Any, w: Any, b: Any, g: ConvGeometry) -> Callable[[], Any]:
    conv, padding, bias = torch_function(f"conv{g.rank}d"), symmetric_padding(g), b.flatten()
    return lambda: torch_activated(conv(x, w, bias, g.stride, padding, g.dilation, g.groups), g)


@torch_layout
def _torch_input_grad(dy: Any, w: Any, g: ConvGeometry) -> Callable[[], Any]:
    return _torch_backward(dy, torch_empty(g.x_shape, dy), w, 0, g)


@torch_layout
def _torch_weight_grad(dy: Any, x: Any, g: ConvGeometry) -> Callable[[], Any]:
    return _torch_backward(dy, x, torch_empty(g.w_shape, dy), 1, g)


def _torch_backward(dy: Any, x: Any, w: Any, result: int, g: ConvGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    stride, padding, dilation = list(g.stride), symmetric_padding(g), list(g.dilation)
    none, mask = [0] * g.rank, [place == result for place in range(3)]

    def call() -> Any:
        gradients = aten.convolution_backward(dy, x, w, None, stride, padding, dilation, False, none, g.groups, mask)
        return gradients[result]

    return call


@torch_layout
def _torch_bias_grad(dy: Any, g: ConvGeometry) -> Callable[[], Any]:
    return lambda: dy.sum((0, *range(2, dy.ndim))).view(g.b_shape)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "conv": _torch_conv,
    "conv_input_grad": _torch_input_grad,
    "conv_weight_grad": _torch_weight_grad,
    "conv_bias_grad": _torch_bias_grad,
}


def _cublas_conv(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """A 1x1 kernel's convolution, image by image."""
    if {*g.kernel_size, *g.stride, g.groups} != {1} or any(map(any, g.padding)):
        raise NotImplementedError("not a plain matrix product")
    if g.channels_last:
        return (x.reshape(-1, g.C) @ w.reshape(g.K, g.C).T + b).reshape(g.y_shape)
    try:
        y = w.reshape(g.K, g.C) @ x.reshape(g.N, g.C, math.prod(g.extents))
    except TypeError as error:  # bfloat16, in CuPy 14
        raise NotImplementedError(f"CuPy multiplies no batch of matrices: {error}") from error
    return activated((y + b.reshape(g.K, 1)).reshape(g.y_shape), g)


CUBLAS: dict[str, Callable[..., Any]] = {"conv": _cublas_conv}
