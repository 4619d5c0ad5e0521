"""The records of max and average pooling and their gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..axis import RANKS
from ..layout import NCHW, NHWC
from ..operation import X_SHAPE, Y_SHAPE, Case, Compute, Family, Input, Operation, Output
from ..types import Shape
from . import cases, cases1d, cases3d, cases_nhwc
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry


def _max_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> PoolGeometry:
    return PoolGeometry.of(operation, x_shape, **options)


def _avg_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> AvgPoolGeometry:
    return AvgPoolGeometry.of_average(operation, x_shape, **options)


def _adaptive_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> AdaptivePoolGeometry:
    return AdaptivePoolGeometry.of(operation, x_shape, **options)


def _max_case(g: PoolGeometry) -> Case:
    options: dict[str, Any] = {"kernel_size": g.kernel_size, "stride": g.stride}
    if any(map(any, g.padding)):
        options["padding"] = g.padding
    if any(step != 1 for step in g.dilation):
        options["dilation"] = g.dilation
    if g.ceil_mode:
        options["ceil_mode"] = True
    return Case("", g.x_shape, options=options | _layout(g))


def _layout(g: PoolGeometry | AdaptivePoolGeometry) -> dict[str, Any]:
    return {"layout": NHWC} if g.channels_last else {}


def _adaptive_case(g: AdaptivePoolGeometry) -> Case:
    return Case("", g.x_shape, options={"output_size": g.windows} | _layout(g))


def _avg_case(g: AvgPoolGeometry) -> Case:
    case = _max_case(g)
    if not g.count_include_pad:
        case.options["count_include_pad"] = False
    if g.divisor_override is not None:
        case.options["divisor_override"] = g.divisor_override
    return case


_WINDOW = {"kernel_size": None, "stride": None, "padding": 0, "layout": NCHW}
_MAX_POOL = Family(
    "max_pool",
    "pool",
    options={**_WINDOW, "dilation": 1, "ceil_mode": False},
    geometry=_max_geometry,
    case=_max_case,
    cases=cases.MAX_POOL + cases1d.MAX_POOL + cases3d.MAX_POOL + cases_nhwc.MAX_POOL,
    ranks=RANKS,
)
_AVG_POOL = Family(
    "avg_pool",
    "pool",
    options={**_WINDOW, "ceil_mode": False, "count_include_pad": True, "divisor_override": None},
    geometry=_avg_geometry,
    case=_avg_case,
    cases=cases.AVG_POOL + cases1d.AVG_POOL + cases3d.AVG_POOL + cases_nhwc.AVG_POOL,
    ranks=RANKS,
)
_ADAPTIVE_POOL = Family(
    "adaptive_avg_pool",
    "pool",
    options={"output_size": None, "layout": NCHW},
    geometry=_adaptive_geometry,
    case=_adaptive_case,
    cases=cases.ADAPTIVE_POOL + cases1d.ADAPTIVE_POOL + cases3d.ADAPTIVE_POOL + cases_nhwc.ADAPTIVE_POOL,
    ranks=RANKS,
)


def _tap_dtype(g: PoolGeometry, dtype: np.dtype) -> np.dtype:
    return g.tap_dtype


def _window(g: PoolGeometry) -> int:
    return math.prod(g.kernel_size)


def _read(g: PoolGeometry) -> int:
    return math.prod(g.y_shape) * _window(g)


def _largest(shares: tuple[list[slice], ...]) -> int:
    return math.prod(max(share.stop - share.start for share in axis) for axis in shares)


def _magnitudes(compute: Compute, inputs: tuple[Any, ...], g: AvgPoolGeometry) -> Any:
    """A divisor may be negative."""
    if g.divisor_override is not None:
        g = replace(g, divisor_override=abs(g.divisor_override))
    return compute(np.abs(inputs[0]), g)


_X, _DY = Input("x", X_SHAPE), Input("dy", Y_SHAPE)
_TAPS = Input("taps", Y_SHAPE, _tap_dtype, saved=True)

OPERATIONS = (
    Operation(
        "max_pool",
        "max pool forward",
        _MAX_POOL,
        inputs=(_X,),
        outputs=(Output("y", Y_SHAPE, terms=None), Output("taps", Y_SHAPE, terms=None, dtype=_tap_dtype)),
        flops=_read,
    ),
    Operation(
        "max_pool_grad",
        "max pool grad",
        _MAX_POOL,
        inputs=(_DY, _TAPS),
        outputs=(Output("dx", X_SHAPE, terms=_window),),
        flops=lambda g: math.prod(g.y_shape),
    ),
    Operation(
        "max_pool_indices",
        "max pool indices",
        _MAX_POOL,
        inputs=(_TAPS,),
        outputs=(Output("indices", Y_SHAPE, terms=None, dtype=lambda g, dtype: np.dtype(np.int64)),),
        flops=lambda g: 0,
    ),
    Operation(
        "avg_pool",
        "avg pool forward",
        _AVG_POOL,
        inputs=(_X,),
        outputs=(Output("y", Y_SHAPE, terms=_window),),
        flops=_read,
        magnitudes=_magnitudes,
    ),
    Operation(
        "avg_pool_grad",
        "avg pool grad",
        _AVG_POOL,
        inputs=(_DY,),
        outputs=(Output("dx", X_SHAPE, terms=_window),),
        flops=_read,
        magnitudes=_magnitudes,
    ),
    Operation(
        "adaptive_avg_pool",
        "adaptive avg pool forward",
        _ADAPTIVE_POOL,
        inputs=(_X,),
        outputs=(Output("y", Y_SHAPE, terms=lambda g: _largest(g.covered())),),
        flops=lambda g: math.prod(g.y_shape) * _largest(g.covered()),
    ),
    Operation(
        "adaptive_avg_pool_grad",
        "adaptive avg pool grad",
        _ADAPTIVE_POOL,
        inputs=(_DY,),
        outputs=(Output("dx", X_SHAPE, terms=lambda g: _largest(g.covering())),),
        flops=lambda g: math.prod(g.x_shape) * _largest(g.covering()),
    ),
)
