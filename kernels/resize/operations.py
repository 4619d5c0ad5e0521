"""The records of resizing and its gradient."""

from __future__ import annotations

import math
from typing import Any

from ..operation import X_SHAPE, Y_SHAPE, Case, Family, Input, Operation, Output
from ..types import Shape
from .cases import UPSAMPLE
from .geometry import ResizeGeometry


def _geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> ResizeGeometry:
    return ResizeGeometry.of(operation, x_shape, **options)


def _case(g: ResizeGeometry) -> Case:
    options: dict[str, Any] = {"size": g.size, "mode": g.mode}
    return Case("", g.x_shape, options={**options, "align_corners": True} if g.align_corners else options)


def _covering(g: ResizeGeometry) -> int:
    return math.prod(axis.most_covering for axis in g.axes) + 8


_UPSAMPLE = Family(
    "upsample",
    "resize",
    options={"size": None, "mode": "nearest", "align_corners": False},
    geometry=_geometry,
    case=_case,
    cases=UPSAMPLE,
)

OPERATIONS = (
    Operation(
        "upsample",
        "upsample forward",
        _UPSAMPLE,
        inputs=(Input("x", X_SHAPE),),
        outputs=(Output("y", Y_SHAPE, terms=lambda g: 8),),
        flops=lambda g: math.prod(g.y_shape),
    ),
    Operation(
        "upsample_grad",
        "upsample grad",
        _UPSAMPLE,
        inputs=(Input("dy", Y_SHAPE),),
        outputs=(Output("dx", X_SHAPE, terms=_covering),),
        flops=lambda g: math.prod(g.y_shape),
    ),
)
