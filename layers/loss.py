"""Losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import get_array_module, on_device, quietly
from ..kernels import checks
from ..kernels.dtypes import accumulation_dtype
from ..kernels.linear.geometry import check_batch_axis
from ..kernels.types import Array
from .base import SECOND_BACKWARD, Used

_NAME = "CrossEntropyLoss"


class CrossEntropyLoss:
    """The mean over samples of -log softmax(logits)[label], for integer labels.

    batch_axis=0: logits (N, O); batch_axis=1: (O, N), samples are columns. labels: (N,), any integer dtype, 0 to O-1.
    Stable for logits of any size; 16-bit logits are computed in float32. An empty batch has the loss NaN, as in
    PyTorch.

    A label out of range is a ValueError for NumPy arrays. On CuPy finding it out would mean waiting for the device,
    so there the loss and that sample's gradient become NaN.
    """

    _for_backward: Any = None

    def __init__(self, *, batch_axis: int = 0) -> None:
        check_batch_axis(_NAME, batch_axis)
        self.batch_axis = batch_axis

    def __call__(self, logits: Array, labels: Array) -> Any:
        return self.forward(logits, labels)

    def forward(self, logits: Array, labels: Array) -> Any:
        """The loss, a 0-d array of logits' dtype, or float32 for 16-bit logits."""
        (logits,) = checks.arrays(_NAME, logits=logits)
        logits, labels = checks.one_library(_NAME, logits=logits, labels=labels)
        axis = self._check(logits, labels)
        with on_device(logits):
            return self._loss(logits, labels, axis)

    @quietly
    def _loss(self, logits: Any, labels: Any, axis: int) -> Any:
        xp = get_array_module(logits)
        samples, classes = logits.shape[self.batch_axis], logits.shape[axis]
        labels = xp.expand_dims(labels.astype(np.int64), axis)
        valid = (labels >= 0) & (labels < classes)
        if xp is np and not valid.all():
            wrong = labels[~valid][0]
            raise checks.value_error(_NAME, "a label", wrong, f"0 to {classes - 1}, for {classes} classes")

        z = logits.astype(accumulation_dtype(logits.dtype))
        z = z - z.max(axis=axis, keepdims=True)
        log_sum = xp.log(xp.exp(z).sum(axis=axis, keepdims=True))
        chosen = xp.take_along_axis(z, xp.where(valid, labels, 0), axis)
        losses = xp.where(valid, log_sum - chosen, math.nan)
        scale = 1 / samples if samples else math.nan
        self._for_backward = (z - log_sum, labels, valid, scale, logits.dtype)
        return xp.asarray(losses.sum() * scale)

    @quietly
    def backward(self) -> Any:
        """dlogits = (softmax(logits) - one_hot(labels)) / N, of logits' shape and dtype; once after each forward."""
        if self._for_backward is None:
            raise RuntimeError(f"{_NAME}: backward was called before forward")
        if self._for_backward is Used:
            raise RuntimeError(f"{_NAME}: {SECOND_BACKWARD}")
        (log_softmax, labels, valid, scale, dtype), self._for_backward = self._for_backward, Used
        xp = get_array_module(log_softmax)
        axis = 1 - self.batch_axis
        with on_device(log_softmax):
            classes = xp.expand_dims(xp.arange(log_softmax.shape[axis]), self.batch_axis)
            dlogits = (xp.exp(log_softmax) - (classes == labels)) * scale
            return xp.where(valid, dlogits, math.nan).astype(dtype)

    def _check(self, logits: Array, labels: Array) -> int:
        """The axis of the classes; ValueError or TypeError where the arguments do not fit."""
        axis = 1 - self.batch_axis
        shape = checks.shape2(_NAME, "logits.shape", logits.shape, "(N, O)" if axis == 1 else "(O, N)")
        if shape[axis] < 1:
            raise checks.value_error(_NAME, "logits.shape", shape, "at least one class")
        if labels.dtype.kind not in "iu":
            raise checks.type_error(_NAME, "labels.dtype", labels.dtype, "an integer dtype")
        checks.has_shape(_NAME, "labels", labels, (shape[self.batch_axis],), "(N,) as logits")
        return axis

    def __repr__(self) -> str:
        return f"{_NAME}()" if self.batch_axis == 0 else f"{_NAME}(batch_axis=1)"
