"""The record of dropout, which is its own gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import X_SHAPE, Case, Family, Input, Operation, Output
from ..types import Shape
from .cases import DROPOUT
from .geometry import WORDS, DropoutGeometry


def _geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> DropoutGeometry:
    return DropoutGeometry.of(operation, tuple(x_shape), **options)


OPERATIONS = (
    Operation(
        "dropout",
        "dropout",
        Family(
            "dropout",
            "dropout",
            options={"p": None, "seed": None},
            geometry=_geometry,
            case=lambda g: Case("", g.x_shape, options={"p": g.p, "seed": g.seed}),
            cases=DROPOUT,
        ),
        inputs=(
            Input("x", X_SHAPE),
            Input("position", lambda g: (WORDS,), dtype=lambda g, dtype: np.dtype(np.uint32), below=lambda g: 2**31),
        ),
        outputs=(Output("y", X_SHAPE, terms=lambda g: 1),),
        flops=lambda g: g.size,
    ),
)
