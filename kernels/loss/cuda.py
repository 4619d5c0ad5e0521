"""Losses on the GPU: value and gradient in one launch, and one more that adds up what its blocks have summed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cuda.runtime.arrays import ALIGNMENT, contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES
from ..cuda.runtime.replay import empty
from ..dtypes import accumulation_dtype
from ..softmax.rows import THREADS, blocks, launch_rows
from .geometry import CrossEntropyGeometry, ElementLossGeometry


@launcher
def cross_entropy(x: Any, labels: Any, weight: Any, geometry: CrossEntropyGeometry) -> tuple[Any, Any]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    x, labels, dx = contiguous(x), contiguous(labels), empty(g.x_shape, x.dtype)
    weight = None if weight is None else contiguous(weight)
    ignoring = {"ignoring": int(g.ignore_index is not None), "ignored": g.ignore_index or 0}
    divisor = _divisor(labels, weight, g, x.dtype, ignoring) if g.weighs else None
    partial = empty(max(1, blocks(g)), acc)
    if x.size:
        arrays = {"x": x, "labels": labels, "weight": weight, "divisor": divisor, "dx": dx, "partial": partial}
        launch_rows("cross_entropy", g, x.dtype, {}, smoothing=g.label_smoothing, **ignoring, **arrays)
    return _sum(partial, blocks(g), x.dtype, g.rows, divisor), dx


@launcher
def mse(x: Any, target: Any, geometry: ElementLossGeometry) -> tuple[Any, Any]:
    return _element_loss("Squared", x, target, geometry)


@launcher
def bce_with_logits(x: Any, target: Any, geometry: ElementLossGeometry) -> tuple[Any, Any]:
    return _element_loss("BinaryCrossEntropy", x, target, geometry)


def _divisor(labels: Any, weight: Any, g: CrossEntropyGeometry, dtype: np.dtype, ignoring: dict[str, int]) -> Any:
    """The sum of the weights of the labels that are not ignored."""
    check_index("cross_entropy", rows=g.rows)
    number = -(-g.rows // THREADS)
    partial = empty(max(1, number), accumulation_dtype(dtype))
    if number:
        values = {"labels": labels, "weight": weight, "partial": partial, "number": g.rows, "classes": g.length}
        launch("label_weights.cu", "label_weights", _defines(dtype), number, THREADS, 0, **values, **ignoring)
    return _sum(partial, number, dtype, 1, None)


def _element_loss(function: str, x: Any, target: Any, g: ElementLossGeometry) -> tuple[Any, Any]:
    x, target, dx = contiguous(x), contiguous(target), empty(g.x_shape, x.dtype)
    vec = ALIGNMENT // x.itemsize
    number = -(-g.size // (vec * THREADS))
    partial = empty(max(1, number), accumulation_dtype(x.dtype))
    if number:
        values = {"x": x, "target": target, "dx": dx, "partial": partial, "size": g.size}
        defines = {**_defines(x.dtype), "FUNCTION": function, "VEC": vec}
        launch("element_loss.cu", "element_loss", defines, number, THREADS, 0, **values)
    return _sum(partial, number, x.dtype, g.size, None), dx


def _sum(partial: Any, number: int, dtype: np.dtype, count: int, divisor: Any) -> Any:
    y = empty((), partial.dtype)
    values = {"partial": partial, "divisor": divisor, "y": y, "number": number, "count": count}
    launch("loss_sum.cu", "loss_sum", _defines(dtype), 1, THREADS, 0, **values)
    return y


def _defines(dtype: np.dtype) -> dict[str, object]:
    """LANES: of a block that takes a sum."""
    return {"TYPE": C_TYPES[dtype.name], "THREADS": THREADS, "LANES": THREADS}
