"""Convolution on CUDA: implicit matrix products, and direct kernels where a product would be too narrow."""

from __future__ import annotations

import math
from typing import Any

from ..cuda.gemm.choice import vector
from ..cuda.gemm.configuration import HaloConfiguration, Product, WeightHaloConfiguration
from ..cuda.gemm.halo import Halo
from ..cuda.gemm.product import configure, launch_product, launch_product_and_bias_grad
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, inputs, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import bias_grad
from ..cuda.windows import axes_macro, volume_axes
from . import direct, few_channels, few_channels_input_grad, tiny
from .geometry import ConvGeometry
from .planar import planar

_PACK_THREADS = 256


@launcher
@planar
def conv(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    if direct.applies_depthwise(geometry):
        return direct.depthwise_forward(x, w, b, geometry)
    few = few_channels.choose(geometry, x.dtype) if geometry.rank == 2 else None
    if few and few_channels.is_faster(few, geometry, _forward_product(geometry), x):
        return direct.few_channels_forward(x, w, b, geometry, few)
    return _forward(x, w, b, geometry)


@launcher
@planar
def conv_input_grad(dy: Any, w: Any, geometry: ConvGeometry) -> Any:
    dy, w = inputs(dy, w)
    return _conv_transpose(dy, w, None, geometry)


@launcher
@planar
def conv_transpose(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    return _conv_transpose(x, w, b, geometry)


@launcher
@planar
def conv_weight_grad(dy: Any, x: Any, geometry: ConvGeometry) -> Any:
    dy, x = inputs(dy, x)
    if direct.applies_depthwise(geometry):
        return direct.depthwise_weight_grad(dy, x, geometry)
    return _weight_grad("weight_grad", dy, x, geometry)


@launcher
def conv_bias_grad(dy: Any, geometry: ConvGeometry) -> Any:
    (dy,) = inputs(dy)
    return _bias_grad(dy, geometry)


def _bias_grad(dy: Any, g: ConvGeometry) -> Any:
    return bias_grad(dy, g.N, g.K, math.prod(g.windows), g.b_shape)


@launcher
@planar
def conv_parameter_grads(dy: Any, x: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    dy, x = inputs(dy, x)
    return _parameter_grads(dy, x, geometry)


def _parameter_grads(dy: Any, x: Any, g: ConvGeometry) -> tuple[Any, Any]:
    if direct.applies_depthwise(g):
        return direct.depthwise_weight_grad(dy, x, g), _bias_grad(dy, g)
    if 0 in g.w_shape:
        return empty(g.w_shape, dy.dtype), _bias_grad(dy, g)
    db = empty(g.b_shape, dy.dtype)
    return _weight_grad("parameter_grads", dy, x, g, db), db


@launcher
@planar
def conv_grads(dy: Any, x: Any, w: Any, geometry: ConvGeometry) -> tuple[Any, Any, Any]:
    dy, x, w = inputs(dy, x, w)
    if geometry.rank > 2 or not tiny.applies(geometry):
        return _conv_transpose(dy, w, None, geometry), *_parameter_grads(dy, x, geometry)
    dx, dw, db = (empty(shape, dy.dtype) for shape in (geometry.x_shape, geometry.w_shape, geometry.b_shape))
    tiny.grads(dy, x, w, dx, dw, db, geometry)
    return dx, dw, db


def _forward(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    _check(f"conv{g.rank}d", g)
    y = empty(g.y_shape, x.dtype)
    product = _forward_product(g)
    configuration = configure(product, y)
    if isinstance(configuration, HaloConfiguration):
        _halo(configuration, x, w, b, y, g, gradient=False)
        return y
    windows = math.prod(g.windows)
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or vector(configuration.itemsize, windows),
        "B_VECTOR": configuration.vector_b(vector(x.itemsize, product.k)),
        "BIAS_ALONG_M": 0,
    }
    launch_product(
        "conv_forward",
        configuration,
        defines,
        y,
        b,
        groups=g.groups,
        channels=(g.K, windows),
        x=x,
        w=w,
        **_window(g),
    )
    return y


def _gather(g: ConvGeometry) -> dict[str, int]:
    """The #defines that say how x is read; pixels of a 1x1 window lie along one axis, whatever their number."""
    pointwise = g.is_pointwise
    return {"POINTWISE": int(pointwise), "AXES": axes_macro(0 if pointwise else g.rank)}


def _forward_product(g: ConvGeometry) -> Product:
    pointwise = g.is_pointwise
    return Product(
        m=g.N * math.prod(g.windows),
        n=g.K // g.groups,
        k=g.C // g.groups * math.prod(g.kernel_size),
        batch=g.groups,
        a_k_major=False,
        b_k_major=True,
        gathered=0 if pointwise else _aligned(g),
        convolution=_by_halo(g),
    )


def _by_halo(g: ConvGeometry) -> ConvGeometry | None:
    """The convolution, where halo tiles are written for it: along two axes."""
    return None if g.is_pointwise or g.rank > 2 else g


def _conv_transpose(dy: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """The input gradient, plus a bias for each channel where b is given."""
    if direct.applies_depthwise(g):
        return direct.depthwise_input_grad(dy, w, b, g)
    few = few_channels_input_grad.choose(g, dy.dtype) if g.rank == 2 else None
    if few and few_channels.is_faster(few, g, _input_grad_product(g), dy):
        return direct.few_channels_input_grad(dy, w, b, g, few)
    return _input_grad(dy, w, b, g)


def _input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    _check(f"conv{g.rank}d_input_grad", g)
    dx = empty(g.x_shape, dy.dtype)
    product = _input_grad_product(g)
    configuration = configure(product, dx)
    if isinstance(configuration, HaloConfiguration):
        _halo(configuration, dy, w, b, dx, g.reversed, gradient=True)
        return dx
    axis_d, axis_h, axis_w = volume_axes(g.axes)
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or vector(configuration.itemsize, math.prod(g.windows)),
        "B_VECTOR": configuration.vector_b(vector(dy.itemsize, g.C // g.groups)),
        "BIAS_ALONG_M": 0,
    }
    launch_product(
        "conv_input_grad",
        configuration,
        defines,
        dx,
        b,
        groups=g.groups,
        channels=(g.C, math.prod(g.extents)),
        dy=dy,
        w=w,
        **_window(g),
        filters=g.K // g.groups,
        classes=fast_div(axis_d.class_count * axis_h.class_count * axis_w.class_count),
        classes_h=fast_div(axis_h.class_count),
        classes_w=fast_div(axis_w.class_count),
        class_slices=fast_div(axis_d.class_positions),
        class_rows=fast_div(axis_h.class_positions),
        class_columns=fast_div(axis_w.class_positions),
        gcd_d=axis_d.gcd,
        gcd_h=axis_h.gcd,
        gcd_w=axis_w.gcd,
        inverse_d=axis_d.inverse,
        inverse_h=axis_h.inverse,
        inverse_w=axis_w.inverse,
    )
    return dx


def _input_grad_product(g: ConvGeometry) -> Product:
    """One product for each residue class of the stride."""
    pointwise = g.is_pointwise
    classes = math.prod(axis.class_count for axis in g.axes)
    return Product(
        m=g.N * math.prod(axis.class_positions for axis in g.axes),
        n=g.C // g.groups,
        k=-(-g.K // g.groups * math.prod(g.kernel_size) // classes),  # of the mean class
        batch=g.groups * classes,
        a_k_major=False,
        b_k_major=not pointwise,
        gathered=int(not pointwise),  # registers do not suffice for words
        convolution=_by_halo(g.reversed) if max(g.stride) == 1 else None,
    )


def _halo(configuration: HaloConfiguration, x: Any, w: Any, b: Any, y: Any, g: ConvGeometry, *, gradient: bool) -> None:
    """y, the convolution g of x, by halo tiles; gradient: w belongs to the convolution whose input gradient g is."""
    if y.size == 0:
        return
    channels, filters = g.C // g.groups, g.K // g.groups
    packed_channels = -(-channels // configuration.k) * configuration.k
    packed = empty((g.groups, g.R * g.S, filters, packed_channels), w.dtype)
    check_index("conv2d", elements_of_packed_weights=packed.size)
    if packed.size:
        launch(
            "pack_weights.cu",
            "pack_weights",
            {"TYPE": C_TYPES[w.dtype.name], "THREADS": _PACK_THREADS, "GRADIENT": int(gradient)},
            -(-packed.size // _PACK_THREADS),
            _PACK_THREADS,
            0,
            w=w,
            packed=packed,
            size=packed.size,
            channels=channels,
            packed_channels=fast_div(packed_channels),
            filters=fast_div(filters),
            taps=fast_div(g.R * g.S),
        )
    defines = {"AXES": 2, "B_VECTOR": configuration.vector_b(16 // w.itemsize), "BIAS_ALONG_M": 0}
    launch_product(
        "conv_halo",
        configuration,
        defines,
        y,
        b,
        depth=channels,
        groups=g.groups,
        channels=(g.K, g.P * g.Q),
        x=x,
        w=packed,
        packed_channels=packed_channels,
        tiles=_halo_tiles(configuration.tiles, g),
        **_window(g),
    )


def _halo_tiles(halo: Halo, g: ConvGeometry) -> dict[str, Any]:
    """The struct HaloTiles of halo_window.cuh."""
    return {
        "N": g.N,
        "taps": fast_div(halo.taps),
        "reach": fast_div(halo.reach),
        "column_tiles": fast_div(halo.column_tiles),
        "pixels": fast_div(halo.pixels),
        "columns": fast_div(halo.input_columns),
    }


def _weight_grad(operation: str, dy: Any, x: Any, g: ConvGeometry, db: Any = None) -> Any:
    """dw; db, where it is given, is filled too."""
    _check(f"conv{g.rank}d_{operation}", g)
    dw = empty(g.w_shape, dy.dtype)
    pointwise = g.is_pointwise
    channels = g.C // g.groups
    product = Product(
        channels * math.prod(g.kernel_size),
        g.K // g.groups,
        g.N * math.prod(g.windows),
        g.groups,
        True,
        True,
        0 if pointwise else _aligned(g),
        _by_halo(g),
    )
    configuration = configure(product, dw)
    values = {"groups": g.groups, "dy": dy, "x": x, **_window(g)}
    if isinstance(configuration, WeightHaloConfiguration):
        halo = configuration.tiles
        launch_product_and_bias_grad(
            "conv_weight_grad_halo",
            configuration,
            {"AXES": 2, "B_VECTOR": vector(dy.itemsize, g.Q), "BIAS_ALONG_M": 0},
            dw,
            None,
            db,
            depth=halo.number * configuration.k,
            group_channels=channels,
            tiles=_halo_tiles(halo, g),
            **values,
        )
        return dw
    windows = math.prod(g.windows)
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or vector(configuration.itemsize, windows),
        "B_VECTOR": configuration.vector_b(vector(dy.itemsize, windows)),
        "BIAS_ALONG_M": 0,
    }
    launch_product_and_bias_grad("conv_weight_grad", configuration, defines, dw, None, db, **values)
    return dw


def _aligned(g: ConvGeometry) -> int:
    """How many neighbouring elements of a row every tap reads for as many neighbouring pixels, from a multiple of that
    number on: 1, 2, 4 or 8. More than 1 at stride 1, where rows, padding and dilation are multiples."""
    row = g.axes[-1]
    taps = () if row.taps == 1 else (row.dilation,)
    return 1 if row.stride > 1 else vector(2, row.extent, row.windows, row.before, *taps)


def _window(g: ConvGeometry) -> dict[str, Any]:
    """The structs Window and Images of windowed_image.cuh."""
    window: dict[str, Any] = {}
    names = ("D", "Z", "T", "front"), ("H", "P", "R", "top"), ("W", "Q", "S", "left")
    for (extent, windows, taps, before), axis in zip(names, volume_axes(g.axes), strict=True):
        window |= {extent: axis.extent, windows: fast_div(axis.windows), taps: fast_div(axis.taps), before: axis.before}
        window |= {f"stride_{extent.lower()}": axis.stride, f"dilation_{extent.lower()}": axis.dilation}
    plane_x, plane_y = math.prod(g.extents), math.prod(g.windows)
    images = {
        "plane_x": plane_x,
        "plane_y": fast_div(plane_y),
        "image_x": g.C * plane_x,
        "image_y": g.K * plane_y,
        "group_x": g.C // g.groups * plane_x,
        "group_y": g.K // g.groups * plane_y,
    }
    return {"window": window, "images": images}


def _check(operation: str, g: ConvGeometry) -> None:
    """Kernels address images by 64-bit pointers and count pixels and the elements of one image in 32 bits."""
    plane_x, plane_y = math.prod(g.extents), math.prod(g.windows)
    padded = max(axis.padded.extent + axis.stride + axis.dilation * axis.taps for axis in g.axes)
    check_index(
        operation,
        pixels_of_x=g.N * plane_x,
        pixels_of_y=g.N * plane_y,
        elements_of_one_image_of_x=g.C * plane_x,
        elements_of_one_image_of_y=g.K * plane_y,
        elements_of_w=math.prod(g.w_shape),
        twice_the_padded_extent=2 * padded,
    )
