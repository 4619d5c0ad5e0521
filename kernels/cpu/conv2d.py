"""Convolution and its gradients as matrix products over blocks of columns."""

from __future__ import annotations

import numpy as np

from ..checks import accumulation_dtype
from ..geometry import Conv2dGeometry
from .blocks import Block, blocks, columns, inside, padded_extents


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    acc = accumulation_dtype(x.dtype)
    y = np.empty(g.y_shape, dtype=x.dtype)
    weights = w.astype(acc).reshape(g.groups, g.K // g.groups, -1)
    shift = 0 if b is None else b.astype(acc).reshape(g.K, 1, 1)
    for block in blocks(g, acc.itemsize):
        product = weights @ columns(x, g, block, acc)
        n, rows, width = block.extents
        y[block.output] = product.reshape(n, g.K, rows, width) + shift
    return y


def conv2d_input_grad(dy: np.ndarray, w: np.ndarray, geometry: Conv2dGeometry) -> np.ndarray:
    return conv_transpose2d(dy, w, None, geometry)


def conv_transpose2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    acc = accumulation_dtype(x.dtype)
    weights = w.astype(acc).reshape(g.groups, g.K // g.groups, -1).transpose(0, 2, 1)
    shift = 0 if b is None else b.astype(acc).reshape(g.C, 1, 1)
    y = np.empty(g.x_shape, dtype=x.dtype)
    total = np.empty((1, *g.x_shape[1:]), dtype=acc)
    for n in range(g.N):
        total[:] = shift
        for block in blocks(g, acc.itemsize):
            if block.n0 <= n < block.n1:
                _add_columns(total, x, weights, g, Block(n, n + 1, block.p0, block.p1, block.q0, block.q1))
        y[n] = total[0]
    return y


def _add_columns(total: np.ndarray, dy: np.ndarray, weights: np.ndarray, g: Conv2dGeometry, block: Block) -> None:
    """col2im: add the block's columns of dx, tap by tap, into the rows of `total` that they came from."""
    n, rows, width = block.extents
    part = dy[block.output].astype(total.dtype).reshape(n, g.groups, g.K // g.groups, rows * width)
    taps = (weights @ part).reshape(n, g.C, g.R, g.S, rows, width)
    padded = np.zeros((n, g.C, *padded_extents(g, block)), dtype=total.dtype)
    for r in range(g.R):
        for s in range(g.S):
            top, left = r * g.dilation[0], s * g.dilation[1]
            covered = np.s_[top : top + (rows - 1) * g.stride[0] + 1 : g.stride[0],
                            left : left + (width - 1) * g.stride[1] + 1 : g.stride[1]]  # fmt: skip
            padded[:, :, covered[0], covered[1]] += taps[:, :, r, s]
    region, source = inside(g, block)
    total[:, :, source[0], source[1]] += padded[:, :, region[0], region[1]]


def conv2d_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: Conv2dGeometry) -> np.ndarray:
    g = geometry
    acc = accumulation_dtype(x.dtype)
    dw = np.zeros((g.groups, g.K // g.groups, (g.C // g.groups) * g.R * g.S), dtype=acc)
    for block in blocks(g, acc.itemsize):
        n, rows, width = block.extents
        part = dy[block.output].astype(acc).reshape(n, g.groups, g.K // g.groups, rows * width)
        dw += (part @ columns(x, g, block, acc).swapaxes(2, 3)).sum(axis=0)
    return dw.reshape(g.w_shape).astype(x.dtype)


def conv2d_bias_grad(dy: np.ndarray) -> np.ndarray:
    acc = accumulation_dtype(dy.dtype)
    return dy.sum(axis=(0, 2, 3), dtype=acc).astype(dy.dtype).reshape(-1, 1, 1)
