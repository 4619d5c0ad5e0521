"""Convolution by others: as a textbook writes it in NumPy, in PyTorch, and by cuBLAS where it is a matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..peers import Array, Tap, padded, slices, symmetric_padding, torch_empty, unpadded
from .geometry import ConvGeometry


def _grouped(x: Array, g: ConvGeometry) -> Array:
    """(N, channels, *windows) as (N, groups, channels / groups, windows)."""
    return x.reshape(g.N, g.groups, x.shape[1] // g.groups, math.prod(g.windows))


def _at(tap: Tap, w: Array, g: ConvGeometry) -> Array:
    """The weights of one tap: (groups, K / groups, C / groups)."""
    return w[tap].reshape(g.groups, g.K // g.groups, g.C // g.groups)


def conv2d(x: Array, w: Array, b: Array, g: ConvGeometry) -> Array:
    x = padded(x, g)
    y = np.zeros((g.N, g.groups, g.K // g.groups, math.prod(g.windows)), x.dtype)
    for tap, met in slices(g):
        y += _at(tap, w, g) @ _grouped(x[met], g)
    return y.reshape(g.y_shape) + b.reshape(g.b_shape)


def conv2d_input_grad(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = padded(np.zeros(g.x_shape, dy.dtype), g)
    for tap, met in slices(g):
        products = _at(tap, w, g).transpose(0, 2, 1) @ _grouped(dy, g)
        dx[met] += products.reshape(g.N, g.C, *g.windows)
    return unpadded(dx, g)


def conv2d_weight_grad(dy: Array, x: Array, g: ConvGeometry) -> Array:
    x, dw = padded(x, g), np.zeros(g.w_shape, dy.dtype)
    for tap, met in slices(g):
        products = _grouped(dy, g) @ _grouped(x[met], g).transpose(0, 1, 3, 2)
        dw[tap] = products.sum(axis=0).reshape(g.K, g.C // g.groups)
    return dw


def conv2d_bias_grad(dy: Array, g: ConvGeometry) -> Array:
    return dy.sum(axis=(0, *range(2, dy.ndim))).reshape(g.b_shape)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "conv2d": conv2d,
    "conv2d_input_grad": conv2d_input_grad,
    "conv2d_weight_grad": conv2d_weight_grad,
    "conv2d_bias_grad": conv2d_bias_grad,
}


def _torch_conv2d(x: Any, w: Any, b: Any, g: ConvGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    padding, bias = symmetric_padding(g), b.flatten()
    return lambda: F.conv2d(x, w, bias, g.stride, padding, g.dilation, g.groups)


def _torch_input_grad(dy: Any, w: Any, g: ConvGeometry) -> Callable[[], Any]:
    return _torch_backward(dy, torch_empty(g.x_shape, dy), w, 0, g)


def _torch_weight_grad(dy: Any, x: Any, g: ConvGeometry) -> Callable[[], Any]:
    return _torch_backward(dy, x, torch_empty(g.w_shape, dy), 1, g)


def _torch_backward(dy: Any, x: Any, w: Any, result: int, g: ConvGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    stride, padding, dilation = list(g.stride), symmetric_padding(g), list(g.dilation)
    mask = [place == result for place in range(3)]

    def call() -> Any:
        gradients = aten.convolution_backward(dy, x, w, None, stride, padding, dilation, False, [0, 0], g.groups, mask)
        return gradients[result]

    return call


def _torch_bias_grad(dy: Any, g: ConvGeometry) -> Callable[[], Any]:
    return lambda: dy.sum((0, 2, 3)).view(-1, 1, 1)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "conv2d": _torch_conv2d,
    "conv2d_input_grad": _torch_input_grad,
    "conv2d_weight_grad": _torch_weight_grad,
    "conv2d_bias_grad": _torch_bias_grad,
}


def _cublas_conv2d(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """A 1x1 kernel's convolution, image by image."""
    if {*g.kernel_size, *g.stride, g.groups} != {1} or any(map(any, g.padding)):
        raise NotImplementedError("not a plain matrix product")
    try:
        y = w.reshape(g.K, g.C) @ x.reshape(g.N, g.C, math.prod(g.extents))
    except TypeError as error:  # bfloat16, in CuPy 14
        raise NotImplementedError(f"CuPy multiplies no batch of matrices: {error}") from error
    return (y + b.reshape(g.K, 1)).reshape(g.y_shape)


CUBLAS: dict[str, Callable[..., Any]] = {"conv2d": _cublas_conv2d}
