"""The records of fully connected layers and their gradients."""

from __future__ import annotations

import math

from ..operation import B_SHAPE, W_SHAPE, X_SHAPE, Y_SHAPE, Case, Family, Input, Operation, Output, composite
from ..types import Shape
from .cases import LINEAR, LINEAR_COLUMNS, LINEAR_RELU
from .geometry import LinearGeometry


def _geometry(
    operation: str, x_shape: Shape, w_shape: Shape, *, batch_axis: int, activation: str | None
) -> LinearGeometry:
    """x_shape is (N, F) whatever the batch axis."""
    laid_out = x_shape[::-1] if batch_axis == 1 else x_shape
    return LinearGeometry.of(operation, batch_axis, w_shape=w_shape, x_shape=laid_out, activation=activation)


def _case(g: LinearGeometry) -> Case:
    activation = {} if g.activation is None else {"activation": g.activation}
    return Case("", (g.N, g.F), g.w_shape, {"batch_axis": g.batch_axis, **activation})


_LINEAR = Family(
    "linear",
    "linear",
    options={"batch_axis": 0, "activation": None},
    geometry=_geometry,
    case=_case,
    cases=LINEAR + LINEAR_COLUMNS + LINEAR_RELU,
    of_forward=("activation",),
)


def _flops(g: LinearGeometry) -> int:
    return g.flops


_X, _DY, _W = Input("x", X_SHAPE), Input("dy", Y_SHAPE), Input("w", W_SHAPE, finite=True)

_FORWARD = Operation(
    "linear",
    "linear forward",
    _LINEAR,
    inputs=(_X, _W, Input("b", B_SHAPE)),
    outputs=(Output("y", Y_SHAPE, terms=lambda g: g.F),),
    flops=_flops,
    is_product=True,
)
_INPUT_GRAD = Operation(
    "linear_input_grad",
    "linear dx",
    _LINEAR,
    inputs=(_DY, _W),
    outputs=(Output("dx", X_SHAPE, terms=lambda g: g.O),),
    flops=_flops,
    is_product=True,
)
_WEIGHT_GRAD = Operation(
    "linear_weight_grad",
    "linear dw",
    _LINEAR,
    inputs=(_DY, _X),
    outputs=(Output("dw", W_SHAPE, terms=lambda g: g.N),),
    flops=_flops,
    is_product=True,
)
_BIAS_GRAD = Operation(
    "linear_bias_grad",
    "linear db",
    _LINEAR,
    inputs=(_DY,),
    outputs=(Output("db", B_SHAPE, terms=lambda g: g.N),),
    flops=lambda g: math.prod(g.y_shape),
)
OPERATIONS = (
    _FORWARD,
    _INPUT_GRAD,
    _WEIGHT_GRAD,
    _BIAS_GRAD,
    composite("linear_parameter_grads", "linear dw+db", (_DY, _X), _WEIGHT_GRAD, _BIAS_GRAD),
    composite("linear_grads", "linear dx+dw+db", (_DY, _X, _W), _INPUT_GRAD, _WEIGHT_GRAD, _BIAS_GRAD),
)
