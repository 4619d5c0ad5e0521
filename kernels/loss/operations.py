"""The records of losses, each with its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import accumulation_dtype
from ..operation import X_SHAPE, Case, Compute, Family, Input, Operation, Output
from ..types import Shape
from .cases import CROSS_ENTROPY, ELEMENT_LOSS
from .geometry import CrossEntropyGeometry, ElementLossGeometry


def _cross_entropy_geometry(operation: str, x_shape: Shape, w_shape: Shape, **options: Any) -> CrossEntropyGeometry:
    return CrossEntropyGeometry.of_loss(operation, tuple(x_shape), **options)


def _cross_entropy_case(g: CrossEntropyGeometry) -> Case:
    options: dict[str, Any] = {"axis": g.axis}
    if g.label_smoothing:
        options["label_smoothing"] = g.label_smoothing
    if g.ignore_index is not None:
        options["ignore_index"] = g.ignore_index
    if g.weight:
        options["weight"] = True
    return Case("", g.x_shape, options=options)


def _of_sums(g: Any, dtype: np.dtype) -> np.dtype:
    return accumulation_dtype(dtype)


def _labels(g: Any, dtype: np.dtype) -> np.dtype:
    return np.dtype(np.int64)


def _size(g: Any) -> int:
    return math.prod(g.x_shape)


def _cross_entropy_bound(compute: Compute, inputs: tuple[Any, ...], g: CrossEntropyGeometry) -> tuple[Any, Any]:
    """A row's loss errs by roundings of its logits' distances, its gradient by those of an exponential, and both by
    those of what the labels weigh."""
    x, labels, weight = inputs
    labels = np.expand_dims(labels, g.axis)
    counted = np.ones(labels.shape) if g.ignore_index is None else labels != g.ignore_index
    along = [1] * x.ndim
    along[g.axis] = g.length
    weights = np.ones(g.length) if weight is None else weight
    chosen, weights = weights[labels] * counted, weights.reshape(along)
    z = np.minimum(x.max(g.axis, keepdims=True, initial=-np.inf) - x, 1e300)  # inf times 0 would be NaN
    distances = z + np.log(np.exp(-z).sum(g.axis, keepdims=True)) + 1
    share, spread = g.label_smoothing / g.length, np.abs(weights) * counted
    losses = np.abs(chosen) * np.take_along_axis(distances, labels, g.axis)
    losses = losses + share * (spread * distances).sum(g.axis, keepdims=True)
    p = np.exp(-z) / np.exp(-z).sum(g.axis, keepdims=True) * (1 + z)
    one = np.expand_dims(np.arange(g.length), tuple(i for i in range(x.ndim) if i != g.axis)) == labels
    dx = np.abs(chosen) * (p + one) + share * spread + share * p * np.abs(weights).sum() * counted
    total = chosen.sum()
    scale = (1 + np.abs(chosen).sum() / np.abs(total)) / np.abs(total)
    return losses.sum() * scale, dx * scale


def _mse_bound(compute: Compute, inputs: tuple[Any, ...], g: ElementLossGeometry) -> tuple[Any, Any]:
    magnitude = np.add(*np.abs(inputs))
    return np.square(magnitude).sum() / g.size if g.size else np.nan, magnitude / max(1, g.size)


def _bce_bound(compute: Compute, inputs: tuple[Any, ...], g: ElementLossGeometry) -> tuple[Any, Any]:
    x, target = np.abs(inputs)
    losses = x + x * target + 1
    return losses.sum() / g.size if g.size else np.nan, (1 + target) / max(1, g.size)


_LOSS = Output("loss", lambda g: (), terms=lambda g: _size(g) + 8, dtype=_of_sums)

_CROSS_ENTROPY = Operation(
    "cross_entropy",
    "cross entropy",
    Family(
        "cross_entropy",
        "loss",
        options={"axis": 1, "label_smoothing": 0.0, "ignore_index": None, "weight": False},
        geometry=_cross_entropy_geometry,
        case=_cross_entropy_case,
        cases=CROSS_ENTROPY,
    ),
    inputs=(
        Input("x", X_SHAPE),
        Input("labels", lambda g: g.labels_shape, dtype=_labels, below=lambda g: g.length),
        Input("weight", lambda g: (g.length,), present=lambda g: g.weight),
    ),
    outputs=(_LOSS, Output("dx", X_SHAPE, terms=lambda g: g.length + g.rows + 12)),
    flops=_size,
    magnitudes=_cross_entropy_bound,
)


def _element_loss(name: str, title: str, bound: Any) -> Operation:
    return Operation(
        name,
        title,
        Family(
            name,
            "loss",
            options={},
            geometry=lambda operation, x_shape, w_shape: ElementLossGeometry(tuple(x_shape)),
            case=lambda g: Case("", g.x_shape),
            cases=ELEMENT_LOSS,
        ),
        inputs=(Input("x", X_SHAPE), Input("target", X_SHAPE)),
        outputs=(_LOSS, Output("dx", X_SHAPE, terms=lambda g: 8)),
        flops=_size,
        magnitudes=bound,
    )


OPERATIONS = (
    _CROSS_ENTROPY,
    _element_loss("mse", "mean squared error", _mse_bound),
    _element_loss("bce_with_logits", "binary cross entropy", _bce_bound),
)
