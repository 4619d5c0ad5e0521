"""Convolution on CUDA of arrays whose channels come last: products in which channels are the contiguous axis of every
operand and of the result. Functions of a path (path.py), for geometries whose channels are last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from ...batch_invariance import get_batch_invariant
from ..cuda.gemm.configuration import Product, vector
from ..cuda.gemm.product import configure, launch_product, launch_product_and_bias_grad
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import inputs
from ..cuda.runtime.loader import fast_div
from ..cuda.runtime.replay import empty
from ..cuda.windows import axes_macro
from ..linear import cuda as linear
from ..linear.geometry import LinearGeometry
from . import depthwise_channels_last
from .direct import applies_depthwise
from .geometry import ConvGeometry
from .residues import class_values, pack_class_weights
from .window import check, window

F = TypeVar("F", bound=Callable[..., Any])


def either_layout(compute_last: F) -> Callable[[F], F]:
    """A path's function, beside that for channels last."""

    def decorate(compute: F) -> F:
        @wraps(compute)
        def call(*arguments: Any) -> Any:
            return (compute_last if arguments[-1].channels_last else compute)(*arguments)

        return call  # type: ignore[return-value]

    return decorate


def conv(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    if applies_depthwise(geometry):
        return depthwise_channels_last.forward(x, w, b, geometry)
    if _is_linear(geometry):
        return linear.linear(_rows(x), _rows(w), b, _as_linear(geometry)).reshape(geometry.y_shape)
    return _forward(x, w, b, geometry)


@launcher
def _forward(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    check(f"conv{g.rank}d", g)
    y = empty(g.y_shape, x.dtype)
    product = _forward_product(g, x.itemsize)
    configuration = configure("conv_nhwc", product, y, _of_one_image(_forward_product, g, x.itemsize))
    filters, channels = g.K // g.groups, g.C // g.groups
    defines = {
        "AXES": axes_macro(g.rank),
        "A_VECTOR": vector(x.itemsize, product.k),
        "B_VECTOR": configuration.vector_b(product.channels),
        "C_VECTOR": configuration.vector_c(filters),
        "BIAS_ALONG_M": 1,
    }
    launch_product(
        "conv_forward_nhwc",
        configuration,
        defines,
        y,
        b,
        groups=g.groups,
        channels=(g.K, 1),
        x=x,
        w=w,
        window=window(g)["window"],
        channels_last=_channels(g.C, g.K, channels, math.prod(g.extents)),
    )
    return y


def conv_transpose(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    """The input gradient of dy = x, plus a bias for each channel where b is given."""
    if applies_depthwise(geometry):
        return depthwise_channels_last.input_grad(x, w, b, geometry)
    return _input_grad(x, w, b, geometry)


@launcher
def _input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    dy, w, b = inputs(dy, w, b)
    check(f"conv{g.rank}d_input_grad", g)
    dx = empty(g.x_shape, dy.dtype)
    product = _input_grad_product(g, dy.itemsize)
    configuration = configure("conv_input_grad_nhwc", product, dx, _of_one_image(_input_grad_product, g, dy.itemsize))
    packed, packing = pack_class_weights(w, g)
    defines = {
        "AXES": axes_macro(g.rank),
        "A_VECTOR": vector(dy.itemsize, packing["packed_depth"]),
        "B_VECTOR": configuration.vector_b(product.channels),
        "C_VECTOR": configuration.vector_c(g.C // g.groups),
        "BIAS_ALONG_M": 1,
    }
    values = window(g)
    launch_product(
        "conv_input_grad_nhwc",
        configuration,
        defines,
        dx,
        b,
        groups=g.groups,
        channels=(g.C, 1),
        dy=dy,
        w=packed,
        window=values["window"],
        images=values["images"] | {"image_x": math.prod(g.extents)},
        channels_last=_channels(g.K, g.C, g.K // g.groups, math.prod(g.windows)),
        **packing,
        **class_values(g),
    )
    return dx


def conv_input_grad(dy: Any, w: Any, geometry: ConvGeometry) -> Any:
    if _is_linear(geometry):
        return linear.linear_input_grad(_rows(dy), _rows(w), _as_linear(geometry)).reshape(geometry.x_shape)
    return conv_transpose(dy, w, None, geometry)


def conv_weight_grad(dy: Any, x: Any, geometry: ConvGeometry) -> Any:
    if applies_depthwise(geometry):
        return depthwise_channels_last.weight_grad(dy, x, geometry)
    if _is_linear(geometry):
        return linear.linear_weight_grad(_rows(dy), _rows(x), _as_linear(geometry)).reshape(geometry.w_shape)
    return _only_weight_grad(dy, x, geometry)


def conv_bias_grad(dy: Any, geometry: ConvGeometry) -> Any:
    return linear.linear_bias_grad(_rows(dy), _as_linear(geometry))


def conv_parameter_grads(dy: Any, x: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    if _is_linear(geometry):
        dw, db = linear.linear_parameter_grads(_rows(dy), _rows(x), _as_linear(geometry))
        return dw.reshape(geometry.w_shape), db
    if 0 in geometry.w_shape or applies_depthwise(geometry):
        return conv_weight_grad(dy, x, geometry), conv_bias_grad(dy, geometry)
    return _both_grads(dy, x, geometry)


def conv_grads(dy: Any, x: Any, w: Any, geometry: ConvGeometry) -> tuple[Any, Any, Any]:
    return conv_input_grad(dy, w, geometry), *conv_parameter_grads(dy, x, geometry)


@launcher
def _only_weight_grad(dy: Any, x: Any, g: ConvGeometry) -> Any:
    return _weight_grad("weight_grad", dy, x, g)


@launcher
def _both_grads(dy: Any, x: Any, g: ConvGeometry) -> tuple[Any, Any]:
    db = empty(g.b_shape, dy.dtype)
    return _weight_grad("parameter_grads", dy, x, g, db), db


def _weight_grad(operation: str, dy: Any, x: Any, g: ConvGeometry, db: Any = None) -> Any:
    """dw; db, where it is given, is filled too."""
    dy, x = inputs(dy, x)
    check(f"conv{g.rank}d_{operation}", g)
    dw = empty(g.w_shape, dy.dtype)
    filters, channels = g.K // g.groups, g.C // g.groups
    m, k = channels * math.prod(g.kernel_size), g.N * math.prod(g.windows)
    product = Product(m, filters, k, g.groups, False, False, channels=vector(x.itemsize, channels))
    configuration = configure("conv_weight_grad_nhwc", product, dw)
    defines = {
        "AXES": axes_macro(g.rank),
        "A_VECTOR": product.channels,
        "B_VECTOR": configuration.vector_b(vector(dy.itemsize, filters)),
        "C_VECTOR": configuration.vector_c(m),
        "BIAS_ALONG_M": 0,
    }
    launch_product_and_bias_grad(
        "conv_weight_grad_nhwc",
        configuration,
        defines,
        dw,
        None,
        db,
        groups=g.groups,
        dy=dy,
        x=x,
        window=window(g)["window"],
        channels_last=_channels(g.C, g.K, channels, math.prod(g.extents)),
    )
    return dw


def _forward_product(g: ConvGeometry, itemsize: int) -> Product:
    channels = g.C // g.groups
    return Product(
        m=g.K // g.groups,
        n=g.N * math.prod(g.windows),
        k=channels * math.prod(g.kernel_size),
        batch=g.groups,
        a_k_major=True,
        b_k_major=True,
        channels=vector(itemsize, channels),
    )


def _input_grad_product(g: ConvGeometry, itemsize: int) -> Product:
    """One product for each residue class of the stride."""
    classes, filters = math.prod(axis.class_count for axis in g.axes), g.K // g.groups
    return Product(
        m=g.C // g.groups,
        n=g.N * math.prod(axis.class_positions for axis in g.axes),
        k=-(-filters * math.prod(g.kernel_size) // classes),  # of the mean class
        batch=g.groups * classes,
        a_k_major=True,
        b_k_major=True,
        packed=True,
        channels=vector(itemsize, filters),
    )


def _of_one_image(product: Callable[[ConvGeometry, int], Product], g: ConvGeometry, itemsize: int) -> Product | None:
    """The product of one image, where that alone may decide its bits."""
    return product(g.of_one_image, itemsize) if get_batch_invariant() else None


def _channels(of_image: int, of_output: int, of_group: int, image: int) -> Mapping[str, Any]:
    """The struct ChannelsLast of channels_last_image.cuh; image: pixels of one that is gathered."""
    return {"C": of_image, "K": of_output, "group_channels": fast_div(max(of_group, 1)), "image_x": of_image * image}


def _is_linear(g: ConvGeometry) -> bool:
    """Whether pixels are samples of a fully connected layer."""
    return g.is_pointwise and g.groups == 1


def _as_linear(g: ConvGeometry) -> LinearGeometry:
    return LinearGeometry(g.N * math.prod(g.windows), g.C, g.K, 0)


def _rows(a: Any) -> Any:
    """Pixels by channels, or filters by channels."""
    return a.reshape(-1, a.shape[-1]) if a.size else a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
