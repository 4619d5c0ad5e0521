"""Convolution and its gradients by compiled loops; what they do not suit runs on the plain page.

Padding is a border of zeros here, so weights, or a weight gradient, that are not finite are left to the plain page: no
window must see the NaN that such a product is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..axis import Axis
from ..cpu import tiles
from ..jit import depthwise, layout, products, reduce, weight_grad
from ..jit.compiled import contiguous, is_ready, over_images, suits, wide
from ..jit.correlate import correlate
from ..jit.layout import Correlation
from ..layout import by_channels_first
from . import cpu
from .geometry import ConvGeometry

HELD = 24 << 20  # bytes of a copy


class Plan(NamedTuple):
    """What computes a geometry. in_place: the compiled loops suit it; products: it is one of matrices, and so is its
    input gradient; weight_products: its weight gradient is; patches: its input gradient is one, of the plain page.
    visited: where a 1x1 window strides, the same over the pixels that it visits, if that is a product."""

    in_place: bool
    products: bool
    weight_products: bool
    patches: bool
    forward: Correlation
    input_grad: Correlation
    visited: ConvGeometry | None = None


@lru_cache(1024)
def plan_of(g: ConvGeometry) -> Plan:
    extents = g.N, g.groups, g.C // g.groups, g.K // g.groups, g.axes
    if g.N * g.C * g.K == 0 or layout.is_sparse(g.axes):
        return Plan(False, False, False, False, layout.forward(*extents), layout.input_grad(*extents))
    matrices = math.prod(g.windows), g.C // g.groups, g.K // g.groups
    by_product = g.is_pointwise and products.suit(*matrices)
    weights_too = g.is_pointwise and products.suit(*matrices, products.MUCH_OF_WEIGHTS)
    patches = tiles.suit(g.K // g.groups, g.axes)
    correlations = layout.forward(*extents), layout.input_grad(*extents)
    return Plan(True, by_product, weights_too, patches, *correlations, _visited(g))


def _visited(g: ConvGeometry) -> ConvGeometry | None:
    if max(g.stride) == 1 or any(axis.taps > 1 or axis.before or axis.reaches_outside for axis in g.axes):
        return None
    points = replace(g, axes=tuple(Axis.of_points(axis.windows) for axis in g.axes))
    return points if plan_of(points).products else None


def _at_windows(x: np.ndarray, g: ConvGeometry) -> np.ndarray:
    """A view of the pixels where the windows begin."""
    starts = (slice(0, axis.span(axis.windows), axis.stride) for axis in g.axes)
    return x[(slice(None), slice(None), *starts)]


@by_channels_first
def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    plan = plan_of(g)
    if plan.visited is not None:
        return conv(_at_windows(x, g), w, b, plan.visited)
    weights = _weights(w) if plan.in_place else None
    if weights is None:
        return cpu.conv(x, w, b, g)
    y, bias = np.empty(g.y_shape, x.dtype), None if b is None else contiguous(b)[0]

    def work(x: np.ndarray, y: np.ndarray) -> None:
        if plan.products:
            products.multiply(weights, x, bias, y, g.groups, activation=g.activation)
        else:
            correlate(x, weights, bias, y, plan_of(_of_images(g, len(x))).forward, False, g.activation)

    over_images(work, (x,), (y,))
    return y


@by_channels_first
def conv_input_grad(dy: np.ndarray, w: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    return conv_transpose(dy, w, None, geometry)


@by_channels_first
def conv_transpose(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    plan = plan_of(g)
    weights = _weights(w) if plan.in_place and not plan.patches else None
    if weights is None:
        return cpu.conv_transpose(x, w, b, g)
    y, bias = np.empty(g.x_shape, x.dtype), None if b is None else contiguous(b)[0]

    def work(x: np.ndarray, y: np.ndarray) -> None:
        if plan.products:
            products.multiply(weights, x, bias, y, g.groups, transposed=True)
        else:
            correlate(x, weights, bias, y, plan_of(_of_images(g, len(x))).input_grad, transposed=True)

    over_images(work, (x,), (y,))
    return y


def _weights(w: np.ndarray) -> np.ndarray | None:
    """As the loops take them; None for those that are too many to copy, or not finite."""
    if w.size * wide(w.dtype).itemsize > HELD and not is_ready(w):
        return None
    (w,) = contiguous(w)
    return w if reduce.is_finite(w) else None


@by_channels_first
def conv_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Of some images at a time, so that few are copied; their shapes alone say of how many."""
    g = geometry
    plan = plan_of(g)
    if plan.visited is not None:
        return conv_weight_grad(dy, _at_windows(x, g), plan.visited)
    if not plan.in_place:
        return cpu.conv_weight_grad(dy, x, g)
    step = max(1, HELD * g.N // ((dy.size + x.size) * wide(x.dtype).itemsize))
    dw: np.ndarray | None = None
    for first in range(0, g.N, step):
        some = slice(first, first + step)
        gradients, images = contiguous(dy[some], x[some])
        part = _weight_grad(gradients, images, g)
        if part is None:
            return cpu.conv_weight_grad(dy, x, g)
        dw = part if dw is None else np.add(dw, part, out=dw)
    if dw is None or not reduce.is_finite(dw):
        return cpu.conv_weight_grad(dy, x, g)
    if dw.dtype == x.dtype:
        return dw
    with np.errstate(all="ignore"):
        return dw.astype(x.dtype)


def _weight_grad(dy: np.ndarray, x: np.ndarray, g: ConvGeometry) -> np.ndarray | None:
    """None where it needs too much memory."""
    dw = np.empty(g.w_shape, x.dtype)
    if plan_of(g).weight_products:
        products.weight_grad(dy, x, dw, g.groups)
    elif g.C == g.groups > 1:
        depthwise.weight_grad(dy, x, dw, g.axes)
    elif not weight_grad.weight_grad(dy, x, dw, g.groups, g.axes):
        return None
    return dw


@by_channels_first
def conv_bias_grad(dy: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    if not suits(dy):
        return cpu.conv_bias_grad(dy, geometry)
    return reduce.channel_sums(*contiguous(dy)).reshape(geometry.b_shape)


@by_channels_first
def conv_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    return conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


@by_channels_first
def conv_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: ConvGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return conv_input_grad(dy, w, geometry), conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


def _of_images(g: ConvGeometry, n: int) -> ConvGeometry:
    return g if n == g.N else replace(g, N=n)
