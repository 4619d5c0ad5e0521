"""Fully connected layers on CUDA: one matrix product kernel, each operand contiguous along k or along its own axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...batch_invariance import get_batch_invariant
from ..activation.elementwise import activated
from ..conv import tiny
from ..conv.geometry import ConvGeometry
from ..cuda.gemm.configuration import Product, vector
from ..cuda.gemm.product import configure, launch_product_and_bias_grad
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, inputs
from ..cuda.runtime.replay import empty
from ..cuda.sums import bias_grad
from .geometry import LinearGeometry


@activated
@launcher
def linear(x: Any, w: Any, b: Any, geometry: LinearGeometry) -> Any:
    g = geometry
    x, w, b = inputs(x, w, b)
    y = empty(g.y_shape, x.dtype)
    if g.batch_axis == 0:
        _product("linear", w, x, y, b, k=g.F, k_major=(True, True), batch_axis=0, channels=(g.O, 1), bias_along_m=True)
    else:
        _product("linear", x, w, y, b, k=g.F, k_major=(False, True), batch_axis=1, channels=(g.O, g.N))
    return y


@launcher
def linear_input_grad(dy: Any, w: Any, geometry: LinearGeometry) -> Any:
    g = geometry
    dy, w = inputs(dy, w)
    dx = empty(g.x_shape, dy.dtype)
    if g.batch_axis == 0:
        _product("linear_input_grad", w, dy, dx, k=g.O, k_major=(False, True), batch_axis=0)
    else:
        _product("linear_input_grad", dy, w, dx, k=g.O, k_major=(False, False), batch_axis=1)
    return dx


@launcher
def linear_weight_grad(dy: Any, x: Any, geometry: LinearGeometry) -> Any:
    g = geometry
    dy, x = inputs(dy, x)
    dw = empty(g.w_shape, dy.dtype)
    k_major = g.batch_axis == 1
    _product("linear_weight_grad", x, dy, dw, k=g.N, k_major=(k_major, k_major))
    return dw


@launcher
def linear_parameter_grads(dy: Any, x: Any, geometry: LinearGeometry) -> tuple[Any, Any]:
    g = geometry
    dy, x = inputs(dy, x)
    dw = empty(g.w_shape, dy.dtype)
    if dw.size == 0:
        return dw, _bias_grad(dy, g)
    db = empty(g.b_shape, dy.dtype)
    k_major = g.batch_axis == 1
    _product("linear_parameter_grads", x, dy, dw, k=g.N, k_major=(k_major, k_major), db=db)
    return dw, db


@launcher
def linear_grads(dy: Any, x: Any, w: Any, geometry: LinearGeometry) -> tuple[Any, Any, Any]:
    dy, x, w = inputs(dy, x, w)
    convolution = _as_convolution(geometry)
    if not tiny.applies(convolution) or get_batch_invariant():
        return linear_input_grad(dy, w, geometry), *linear_parameter_grads(dy, x, geometry)
    dx, dw, db = (empty(shape, dy.dtype) for shape in (geometry.x_shape, geometry.w_shape, geometry.b_shape))
    tiny.grads(dy, x, w, dx, dw, db, convolution)
    return dx, dw, db


def _as_convolution(g: LinearGeometry) -> ConvGeometry:
    """The 1x1 convolution that has the same arrays: of one-pixel images or, where samples are columns, of one row."""
    n, pixels = (g.N, 1) if g.batch_axis == 0 else (1, g.N)
    return ConvGeometry.pointwise(n, g.F, g.O, 1, pixels)


def _product(
    operation: str,
    a: Any,
    b: Any,
    c: Any,
    bias: Any = None,
    *,
    k: int,
    k_major: tuple[bool, bool],
    batch_axis: int | None = None,
    channels: tuple[int, int] = (1, 1),
    bias_along_m: bool = False,
    db: Any = None,
) -> None:
    """c (n, m) = the sum over k of a and b; k_major says which of them is contiguous along k: (m, k) or (k, m).

    batch_axis: of c, None where samples are summed over. db, where it is given, is filled with the sums of b over k.
    """
    n, m = c.shape
    check_index(operation, rows=n, columns=m, depth=k)
    product, one = Product(m, n, k, 1, *k_major), None
    if batch_axis is not None and get_batch_invariant():
        one = replace(product, n=1) if batch_axis == 0 else replace(product, m=1)
    configuration = configure("linear", product, c, one)
    defines = {
        "A_K_MAJOR": int(k_major[0]),
        "B_K_MAJOR": int(k_major[1]),
        "A_VECTOR": vector(a.itemsize, a.shape[1]),
        "B_VECTOR": configuration.vector_b(vector(b.itemsize, b.shape[1])),
        "C_VECTOR": configuration.vector_c(m),
        "BIAS_ALONG_M": int(bias_along_m),
    }
    values = {"a": a, "b": b, "stride_a": a.shape[1], "stride_b": b.shape[1]}
    launch_product_and_bias_grad("linear", configuration, defines, c, bias, db, channels=channels, **values)


@launcher
def linear_bias_grad(dy: Any, geometry: LinearGeometry) -> Any:
    (dy,) = inputs(dy)
    return _bias_grad(dy, geometry)


def _bias_grad(dy: Any, g: LinearGeometry) -> Any:
    """Outputs are channels; samples are images of one pixel or, as columns, the pixels of one image."""
    images, pixels = (g.N, 1) if g.batch_axis == 0 else (1, g.N)
    return bias_grad(dy, images, g.O, pixels, g.b_shape)
