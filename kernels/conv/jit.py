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

from ..cpu import tiles
from ..jit import depthwise, layout, products, reduce, weight_grad
from ..jit.compiled import contiguous, pieces, suits
from ..jit.correlate import correlate
from ..jit.layout import Correlation
from . import cpu
from .geometry import ConvGeometry


class Plan(NamedTuple):
    """What computes a geometry. in_place: the compiled loops suit it; products: it is one of matrices; patches: its
    input gradient is one, of the plain page."""

    in_place: bool
    products: bool
    patches: bool
    forward: Correlation
    gradients: tuple[Correlation, ...]


@lru_cache(1024)
def plan_of(g: ConvGeometry) -> Plan:
    extents = g.N, g.groups, g.C // g.groups, g.K // g.groups, g.axes
    if layout.is_sparse(g.axes):
        return Plan(False, False, False, layout.forward(*extents), ())
    by_product = g.is_pointwise and products.suit(math.prod(g.windows), g.C // g.groups)
    patches = tiles.suit(g.K // g.groups, g.axes)
    return Plan(True, by_product, patches, layout.forward(*extents), tuple(layout.gradients(*extents)))


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    plan = plan_of(g)
    if not plan.in_place or not suits(x, w, b) or not reduce.is_finite(w):
        return cpu.conv(x, w, b, g)
    (w,), y = contiguous(w), np.empty(g.y_shape, x.dtype)
    for images in pieces(x):
        (some,), out = contiguous(x[images]), y[images]
        if plan.products:
            products.multiply(w, some, b, out, g.groups)
        else:
            correlate(some, w, b, out, plan_of(_of_images(g, len(some))).forward, transposed=False)
    return y


def conv_input_grad(dy: np.ndarray, w: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    return conv_transpose(dy, w, None, geometry)


def conv_transpose(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    plan = plan_of(g)
    if plan.patches or not plan.in_place or not suits(x, w, b) or not reduce.is_finite(w):
        return cpu.conv_transpose(x, w, b, g)
    (w,), y = contiguous(w), np.empty(g.x_shape, x.dtype)
    for images in pieces(x):
        (some,), out = contiguous(x[images]), y[images]
        if plan.products:
            products.multiply(w, some, b, out, g.groups, transposed=True)
            continue
        for correlation in plan_of(_of_images(g, len(some))).gradients:
            correlate(some, w, b, out, correlation, transposed=True)
    return y


def conv_weight_grad(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    g = geometry
    plan = plan_of(g)
    if not plan.in_place or not suits(dy, x):
        return cpu.conv_weight_grad(dy, x, g)
    dy, x = contiguous(dy, x)
    dw = np.empty(g.w_shape, x.dtype)
    if plan.products:
        products.weight_grad(dy, x, dw, g.groups)
    elif g.C == g.groups > 1:
        depthwise.weight_grad(dy, x, dw, g.axes)
    elif not weight_grad.weight_grad(dy, x, dw, g.groups, g.axes):
        return cpu.conv_weight_grad(dy, x, g)
    return dw if reduce.is_finite(dw) else cpu.conv_weight_grad(dy, x, g)


def conv_bias_grad(dy: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    if not suits(dy):
        return cpu.conv_bias_grad(dy, geometry)
    return reduce.channel_sums(*contiguous(dy)).reshape(geometry.b_shape)


def conv_parameter_grads(dy: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> tuple[np.ndarray, np.ndarray]:
    return conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


def conv_grads(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray, geometry: ConvGeometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return conv_input_grad(dy, w, geometry), conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)


def _of_images(g: ConvGeometry, n: int) -> ConvGeometry:
    return g if n == g.N else replace(g, N=n)
