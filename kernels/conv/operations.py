"""The records of convolution, its gradients, and its transpose."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

from ..axis import RANKS
from ..layout import NCHW, NHWC
from ..operation import B_SHAPE, W_SHAPE, X_SHAPE, Y_SHAPE, Case, Family, Input, Operation, Output, composite
from . import cases, cases1d, cases3d, cases_nhwc, cases_relu
from .geometry import ConvGeometry


def _options(g: ConvGeometry) -> dict[str, Any]:
    found: dict[str, Any] = {"stride": g.stride}
    if any(map(any, g.padding)):
        found["padding"] = g.padding
    if any(step != 1 for step in g.dilation):
        found["dilation"] = g.dilation
    if g.groups != 1:
        found["groups"] = g.groups
    if g.activation is not None:
        found["activation"] = g.activation
    if g.channels_last:
        found["layout"] = NHWC
    return found


def _case(g: ConvGeometry) -> Case:
    return Case("", g.x_shape, g.w_shape, _options(g))


def _transposed_case(g: ConvGeometry) -> Case:
    return Case("", g.y_shape, g.w_shape, {**_options(g), "output_padding": g.output_padding})


_CONV = Family(
    "conv",
    "conv",
    options={"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "activation": None, "layout": NCHW},
    geometry=ConvGeometry.of,
    case=_case,
    cases=cases.CONV + cases1d.CONV + cases3d.CONV + cases_nhwc.CONV + cases_relu.CONV,
    large_cases=cases.CONV_LARGE + cases1d.CONV_LARGE + cases3d.CONV_LARGE,
    ranks=RANKS,
    of_forward=("activation",),
)
_CONV_TRANSPOSE = Family(
    "conv_transpose",
    "conv",
    options={"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, "layout": NCHW},
    geometry=ConvGeometry.of_transposed,
    case=_transposed_case,
    cases=cases.CONV_TRANSPOSE + cases1d.CONV_TRANSPOSE + cases3d.CONV_TRANSPOSE + cases_nhwc.CONV_TRANSPOSE,
    ranks=RANKS,
)


def _flops(g: ConvGeometry) -> int:
    return g.flops


def _input_grad_terms(g: ConvGeometry) -> int:
    return g.K // g.groups * math.prod(g.kernel_size)


def _batch_terms(g: ConvGeometry) -> int:
    return g.N * math.prod(g.windows)


_X, _DY = Input("x", X_SHAPE), Input("dy", Y_SHAPE)
_W = Input("w", W_SHAPE, finite=True)

_FORWARD = Operation(
    "conv",
    "conv forward",
    _CONV,
    inputs=(_X, _W, Input("b", B_SHAPE)),
    outputs=(Output("y", Y_SHAPE, terms=lambda g: math.prod(g.w_shape[1:])),),
    flops=_flops,
    is_product=True,
)
_INPUT_GRAD = Operation(
    "conv_input_grad",
    "conv dx",
    _CONV,
    inputs=(_DY, _W),
    outputs=(Output("dx", X_SHAPE, _input_grad_terms),),
    flops=_flops,
    is_product=True,
)
_WEIGHT_GRAD = Operation(
    "conv_weight_grad",
    "conv dw",
    _CONV,
    inputs=(_DY, _X),
    outputs=(Output("dw", W_SHAPE, _batch_terms),),
    flops=_flops,
    is_product=True,
)
_BIAS_GRAD = Operation(
    "conv_bias_grad",
    "conv db",
    _CONV,
    inputs=(_DY,),
    outputs=(Output("db", B_SHAPE, _batch_terms),),
    flops=lambda g: math.prod(g.y_shape),
)
_TRANSPOSE = Operation(
    "conv_transpose",
    "conv transpose",
    _CONV_TRANSPOSE,
    inputs=(Input("x", Y_SHAPE), _W, Input("b", attrgetter("transposed_b_shape"))),
    outputs=(Output("y", X_SHAPE, _input_grad_terms),),
    flops=_flops,
    is_product=True,
)
OPERATIONS = (
    _FORWARD,
    _INPUT_GRAD,
    _WEIGHT_GRAD,
    _BIAS_GRAD,
    composite("conv_parameter_grads", "conv dw+db", (_DY, _X), _WEIGHT_GRAD, _BIAS_GRAD),
    composite("conv_grads", "conv dx+dw+db", (_DY, _X, _W), _INPUT_GRAD, _WEIGHT_GRAD, _BIAS_GRAD),
    _TRANSPOSE,
)
