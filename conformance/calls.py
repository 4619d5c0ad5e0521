"""From a named shape to the calls of a path: operation names with the arguments that cpu/ and cuda/ take.

The arrays come from a maker, so that the same calls run on numbers (conformance.py) and on bare shapes (a dry run).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..kernels.conv.geometry import ConvGeometry
from ..kernels.linear.geometry import LinearGeometry
from ..kernels.operation import Case
from ..kernels.pool.geometry import AvgPoolGeometry, PoolGeometry

Calls = Iterator[tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True)
class Maker:
    """`array` and `weights` make an array of a shape; `taps`, the taps of max pooling x with a geometry."""

    array: Callable[[tuple[int, ...]], Any]
    weights: Callable[[tuple[int, ...]], Any]
    taps: Callable[[Any, PoolGeometry], Any]


def bare(dtype: np.dtype) -> Maker:
    """Makes arrays that have a shape and a dtype, and no memory of their own."""
    array = partial(np.broadcast_to, np.zeros((), dtype))
    return Maker(array, array, lambda x, g: np.broadcast_to(g.tap_dtype.type(0), g.y_shape))


_POOLING = {"kernel_size": None, "stride": None, "padding": 0, "ceil_mode": False}


def _options(operation: str, case: Case, **defaults: Any) -> dict[str, Any]:
    """The operation's options on this shape; ValueError for one that it does not have."""
    for name in case.options.keys() - defaults:
        raise ValueError(f"{operation} has no option {name}; expected {', '.join(defaults)}")
    return {**defaults, **case.options}


def conv(case: Case, make: Maker) -> Calls:
    options = _options("conv2d", case, stride=1, padding=0, dilation=1, groups=1)
    g = ConvGeometry.of("conv2d", case.x, case.w, **options)
    x, w, dy = make.array(g.x_shape), make.weights(g.w_shape), make.array(g.y_shape)
    yield "conv2d", (x, w, make.array((g.K,)), g)
    yield "conv2d_input_grad", (dy, w, g)
    yield "conv2d_weight_grad", (dy, x, g)
    yield "conv2d_bias_grad", (dy, g)
    yield "conv2d_parameter_grads", (dy, x, g)
    yield "conv2d_grads", (dy, x, w, g)


def conv_transpose(case: Case, make: Maker) -> Calls:
    options = _options("conv_transpose2d", case, stride=1, padding=0, output_padding=0, dilation=1, groups=1)
    g = ConvGeometry.of_transposed("conv_transpose2d", case.x, case.w, **options)
    yield "conv_transpose2d", (make.array(g.y_shape), make.weights(g.w_shape), make.array((g.C,)), g)


def max_pool(case: Case, make: Maker) -> Calls:
    g = PoolGeometry.of("max_pool2d", case.x, **_options("max_pool2d", case, **_POOLING, dilation=1))
    x = make.array(g.x_shape)
    taps = make.taps(x, g)
    yield "max_pool2d", (x, g)
    yield "max_pool2d_grad", (make.array(g.y_shape), taps, g)
    yield "max_pool2d_indices", (taps, g)


def avg_pool(case: Case, make: Maker) -> Calls:
    options = _options("avg_pool2d", case, **_POOLING, count_include_pad=True, divisor_override=None)
    g = AvgPoolGeometry.of_average("avg_pool2d", case.x, **options)
    yield "avg_pool2d", (make.array(g.x_shape), g)
    yield "avg_pool2d_grad", (make.array(g.y_shape), g)


def linear(case: Case, make: Maker) -> Calls:
    """case.x is (N, F) whatever the batch axis."""
    batch_axis = _options("linear", case, batch_axis=0)["batch_axis"]
    x_shape = case.x if batch_axis == 0 else case.x[::-1]
    g = LinearGeometry.of("linear", batch_axis, w_shape=case.w, x_shape=x_shape)
    x, w, dy = make.array(g.x_shape), make.weights(g.w_shape), make.array(g.y_shape)
    yield "linear", (x, w, make.array((g.O,)), g)
    yield "linear_input_grad", (dy, w, g)
    yield "linear_weight_grad", (dy, x, g)
    yield "linear_bias_grad", (dy, g)
    yield "linear_parameter_grads", (dy, x, g)
    yield "linear_grads", (dy, x, w, g)


FAMILIES: dict[Callable[[Case, Maker], Calls], tuple[str, ...]] = {
    conv: (
        "conv2d",
        "conv2d_input_grad",
        "conv2d_weight_grad",
        "conv2d_bias_grad",
        "conv2d_parameter_grads",
        "conv2d_grads",
    ),
    conv_transpose: ("conv_transpose2d",),
    max_pool: ("max_pool2d", "max_pool2d_grad", "max_pool2d_indices"),
    avg_pool: ("avg_pool2d", "avg_pool2d_grad"),
    linear: (
        "linear",
        "linear_input_grad",
        "linear_weight_grad",
        "linear_bias_grad",
        "linear_parameter_grads",
        "linear_grads",
    ),
}
"""The functions above, each with the operations it yields."""


def call(operation: str, case: Case, make: Maker) -> tuple[Any, ...]:
    """The arguments of one operation on this shape; ValueError where the shape or an option is wrong."""
    (family,) = (family for family, operations in FAMILIES.items() if operation in operations)
    return dict(family(case, make))[operation]
