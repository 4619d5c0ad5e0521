"""Convolution on CUDA: implicit matrix products, and direct kernels where a product would be too narrow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from ...batch_invariance import get_batch_invariant
from ..activation.elementwise import activated
from ..cuda.gemm.configuration import (
    Configuration,
    Direct,
    HaloConfiguration,
    Product,
    WeightHaloConfiguration,
    vector,
)
from ..cuda.gemm.halo import Halo
from ..cuda.gemm.product import (
    configure,
    configure_unless_direct,
    launch_product,
    launch_product_and_bias_grad,
)
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, inputs
from ..cuda.runtime.loader import fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import bias_grad
from ..cuda.windows import axes_macro
from . import channels_last, direct, few_channels, few_channels_input_grad, tiny
from .channels_last import either_layout
from .few_channels import FewChannels
from .few_channels_input_grad import FewChannelsInputGrad
from .geometry import ConvGeometry
from .packing import pack_weights
from .planar import planar
from .residues import NOT_PACKED, class_values, pack_class_weights
from .window import check, window

Few = TypeVar("Few", FewChannels, FewChannelsInputGrad)


@activated
@either_layout(channels_last.conv)
@launcher
@planar
def conv(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    if direct.applies_depthwise(geometry):
        return direct.depthwise_forward(x, w, b, geometry)
    few = few_channels.choose(geometry, x.dtype) if geometry.rank == 2 else None
    chosen = _chosen("conv", geometry, _forward_product, few, x)
    if isinstance(chosen, FewChannels):
        return direct.few_channels_forward(x, w, b, geometry, chosen)
    return _forward(x, w, b, geometry, chosen)


@either_layout(channels_last.conv_input_grad)
@launcher
@planar
def conv_input_grad(dy: Any, w: Any, geometry: ConvGeometry) -> Any:
    dy, w = inputs(dy, w)
    return _conv_transpose(dy, w, None, geometry)


@either_layout(channels_last.conv_transpose)
@launcher
@planar
def conv_transpose(x: Any, w: Any, b: Any, geometry: ConvGeometry) -> Any:
    x, w, b = inputs(x, w, b)
    return _conv_transpose(x, w, b, geometry)


@either_layout(channels_last.conv_weight_grad)
@launcher
@planar
def conv_weight_grad(dy: Any, x: Any, geometry: ConvGeometry) -> Any:
    dy, x = inputs(dy, x)
    if direct.applies_depthwise(geometry):
        return direct.depthwise_weight_grad(dy, x, geometry)
    return _weight_grad("weight_grad", dy, x, geometry)


@either_layout(channels_last.conv_bias_grad)
@launcher
def conv_bias_grad(dy: Any, geometry: ConvGeometry) -> Any:
    (dy,) = inputs(dy)
    return _bias_grad(dy, geometry)


def _bias_grad(dy: Any, g: ConvGeometry) -> Any:
    return bias_grad(dy, g.N, g.K, math.prod(g.windows), g.b_shape)


@either_layout(channels_last.conv_parameter_grads)
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


@either_layout(channels_last.conv_grads)
@launcher
@planar
def conv_grads(dy: Any, x: Any, w: Any, geometry: ConvGeometry) -> tuple[Any, Any, Any]:
    dy, x, w = inputs(dy, x, w)
    if geometry.rank > 2 or not tiny.applies(geometry) or get_batch_invariant():
        return _conv_transpose(dy, w, None, geometry), *_parameter_grads(dy, x, geometry)
    dx, dw, db = (empty(shape, dy.dtype) for shape in (geometry.x_shape, geometry.w_shape, geometry.b_shape))
    tiny.grads(dy, x, w, dx, dw, db, geometry)
    return dx, dw, db


def _chosen(
    operation: str, g: ConvGeometry, product: Callable[[ConvGeometry], Product], few: Few | None, array: Any
) -> Configuration | Few:
    """The configuration of the product of arrays like this one, or the kernel of few channels where that goes before
    it."""
    invariant = get_batch_invariant()
    one = product(g.of_one_image) if invariant else None
    if few is None:
        return configure(operation, product(g), array, one)
    decisive = g.of_one_image if invariant else g
    rival = Direct(few.kernel, few.blocks(decisive), few.multiply_adds(decisive))
    return configure_unless_direct(operation, rival, product(g), array, one) or few


def _forward(x: Any, w: Any, b: Any, g: ConvGeometry, configuration: Configuration) -> Any:
    check(f"conv{g.rank}d", g)
    y = empty(g.y_shape, x.dtype)
    if isinstance(configuration, HaloConfiguration):
        _halo(configuration, x, w, b, y, g, gradient=False)
        return y
    windows = math.prod(g.windows)
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or vector(configuration.itemsize, windows),
        "B_VECTOR": configuration.vector_b(vector(x.itemsize, configuration.product.k)),
        "C_VECTOR": configuration.vector_c(windows),
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
        **window(g),
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
    chosen = _chosen("conv_input_grad", g, _input_grad_product, few, dy)
    if isinstance(chosen, FewChannelsInputGrad):
        return direct.few_channels_input_grad(dy, w, b, g, chosen)
    return _input_grad(dy, w, b, g, chosen)


def _input_grad(dy: Any, w: Any, b: Any, g: ConvGeometry, configuration: Configuration) -> Any:
    check(f"conv{g.rank}d_input_grad", g)
    dx = empty(g.x_shape, dy.dtype)
    if isinstance(configuration, HaloConfiguration):
        _halo(configuration, dy, w, b, dx, g.reversed, gradient=True)
        return dx
    packed, packing = (w, NOT_PACKED) if g.is_pointwise else pack_class_weights(w, g)
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or vector(configuration.itemsize, math.prod(g.windows)),
        "B_VECTOR": configuration.vector_b(vector(dy.itemsize, packing["packed_depth"] or g.C // g.groups)),
        "C_VECTOR": configuration.vector_c(math.prod(g.extents) if max(g.stride) == 1 else 1),
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
        w=packed,
        **packing,
        **window(g),
        **class_values(g),
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
        packed=not pointwise,
    )


def _halo(configuration: HaloConfiguration, x: Any, w: Any, b: Any, y: Any, g: ConvGeometry, *, gradient: bool) -> None:
    """y, the convolution g of x, by halo tiles; gradient: w belongs to the convolution whose input gradient g is."""
    if y.size == 0:
        return
    channels, filters = g.C // g.groups, g.K // g.groups
    packed_channels = -(-channels // configuration.k) * configuration.k
    shape = (g.groups, g.R * g.S, filters, packed_channels)
    check_index("conv2d", elements_of_packed_weights=math.prod(shape))
    packed = pack_weights(w, shape, channels, gradient=gradient)
    defines = {
        "AXES": 2,
        "B_VECTOR": configuration.vector_b(16 // w.itemsize),
        "C_VECTOR": configuration.vector_c(g.Q),
        "BIAS_ALONG_M": 0,
    }
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
        **window(g),
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
    check(f"conv{g.rank}d_{operation}", g)
    dw = empty(g.w_shape, dy.dtype)
    pointwise = g.is_pointwise
    channels, windows = g.C // g.groups, math.prod(g.windows)
    word = vector(dy.itemsize, windows)
    product = Product(
        channels * math.prod(g.kernel_size),
        g.K // g.groups,
        g.N * windows,
        g.groups,
        True,
        True,
        0 if pointwise else _aligned(g),
        _by_halo(g),
        scattered=word == 1,
    )
    configuration = configure("conv_weight_grad", product, dw)
    values = {"groups": g.groups, "dy": dy, "x": x, **window(g)}
    if isinstance(configuration, WeightHaloConfiguration):
        halo = configuration.tiles
        launch_product_and_bias_grad(
            "conv_weight_grad_halo",
            configuration,
            {"AXES": 2, "B_VECTOR": vector(dy.itemsize, g.Q), "C_VECTOR": 1, "BIAS_ALONG_M": 0},
            dw,
            None,
            db,
            depth=halo.number * configuration.k,
            group_channels=channels,
            tiles=_halo_tiles(halo, g),
            **values,
        )
        return dw
    defines = {
        **_gather(g),
        "A_VECTOR": configuration.vector_a or word,
        "B_VECTOR": configuration.vector_b(word),
        "C_VECTOR": configuration.vector_c(product.m),
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
