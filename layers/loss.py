"""Losses: called with what a network returns and what was wanted; `backward` gives the gradient for the network."""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module, is_cupy, on_device, to_numpy
from ..kernels import bce_with_logits, checks, mse
from ..kernels.linear.geometry import check_batch_axis
from ..kernels.loss.functions import path_of
from ..kernels.loss.geometry import CrossEntropyGeometry, check_ignore_index, check_label_smoothing
from ..kernels.loss.labels import checked_labels
from ..kernels.types import Array
from .base import SECOND_BACKWARD, Used


class _Loss:
    """A loss, whose forward finds the gradient with the value and keeps it for the one backward that may follow."""

    _for_backward: Any = None

    def __call__(self, x: Array, wanted: Array) -> Any:
        return self.forward(x, wanted)

    def forward(self, x: Array, wanted: Array) -> Any:
        raise NotImplementedError

    def _kept(self, results: tuple[Any, Any]) -> Any:
        loss, self._for_backward = results
        return loss

    def backward(self) -> Any:
        """The gradient of forward's first argument, of its shape and dtype; once after each forward."""
        name = type(self).__name__
        if self._for_backward is None:
            raise RuntimeError(f"{name}: backward was called before forward")
        if self._for_backward is Used:
            raise RuntimeError(f"{name}: {SECOND_BACKWARD}")
        dx, self._for_backward = self._for_backward, Used
        return dx

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CrossEntropyLoss(_Loss):
    """The mean over samples of -log softmax(logits)[label], for integer labels.

    batch_axis=0: logits (N, K), or (N, K, *X) for a label for each pixel; batch_axis=1: (K, N), samples are columns.
    labels: (N,) or (N, *X), any integer dtype, 0 to K-1. label_smoothing: from 0 to 1, which part of each label all
    classes share. ignore_index: None, or the label of samples that are left out. weight: None, or (K,) numbers, how
    much the samples of each class count: the mean is then weighted, as PyTorch's.
    Stable for logits of any size; 16-bit logits are computed in float32. An empty batch has the loss NaN, as in
    PyTorch.

    A label out of range is a ValueError for NumPy arrays. On CuPy finding it out would mean waiting for the device,
    so there the loss and that sample's gradient become NaN.
    """

    def __init__(
        self,
        *,
        batch_axis: int = 0,
        label_smoothing: float = 0,
        ignore_index: int | None = None,
        weight: Any = None,
    ) -> None:
        name = type(self).__name__
        check_batch_axis(name, batch_axis)
        self.batch_axis = batch_axis
        self.label_smoothing = check_label_smoothing(name, label_smoothing)
        self.ignore_index = check_ignore_index(name, ignore_index)
        self.weight = weight if weight is None or is_cupy(weight) else to_numpy(weight)

    def forward(self, logits: Array, labels: Array) -> Any:
        """The loss, a 0-d array of logits' dtype, or float32 for 16-bit logits."""
        name = type(self).__name__
        (logits,) = checks.arrays(name, logits=logits)
        logits, labels = checks.one_library(name, logits=logits, labels=labels)
        geometry = self._geometry(name, logits.shape)
        labels = checked_labels(name, labels, geometry, "(N,) as logits")
        with on_device(logits):
            weight = self._weight_beside(logits)
        if weight is not None:
            checks.has_shape(name, "weight", weight, (geometry.length,), "(K,) as logits")
        return self._kept(path_of(logits).cross_entropy(logits, labels, weight, geometry))

    def _geometry(self, name: str, shape: tuple[int, ...]) -> CrossEntropyGeometry:
        if self.batch_axis == 1 or len(shape) < 2:
            checks.shape2(name, "logits.shape", shape, "(N, O)" if self.batch_axis == 0 else "(O, N)")
        return CrossEntropyGeometry.of_loss(
            name,
            shape,
            axis=1 - self.batch_axis,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            weight=self.weight is not None,
            name="logits",
        )

    def _weight_beside(self, logits: Any) -> Any:
        """The weight in logits' library and dtype, which it keeps: in a captured step nothing may be copied."""
        if self.weight is None:
            return None
        if type(self.weight) is not type(logits) or self.weight.dtype != logits.dtype:
            values = to_numpy(self.weight).astype(logits.dtype)
            self.weight = get_array_module(logits).asarray(values)
        return self.weight

    def __repr__(self) -> str:
        defaults = {"batch_axis": 0, "label_smoothing": 0, "ignore_index": None}
        given = {name: value for name in defaults if (value := getattr(self, name)) != defaults[name]}
        told = [f"{name}={value!r}" for name, value in given.items()] + ["weight=..."] * (self.weight is not None)
        return f"{type(self).__name__}({', '.join(told)})"


class MSELoss(_Loss):
    """The mean over all elements of (x - target)²; x and target are of one shape and dtype."""

    def forward(self, x: Array, target: Array) -> Any:
        """The loss, a 0-d array of x's dtype, or float32 for 16-bit x."""
        return self._kept(mse(x, target))


class BCEWithLogitsLoss(_Loss):
    """The mean over all elements of -target log p - (1 - target) log(1 - p), p = sigmoid(x), for x of any size.

    x and target are of one shape and dtype, the target from 0 to 1.
    """

    def forward(self, x: Array, target: Array) -> Any:
        """The loss, a 0-d array of x's dtype, or float32 for 16-bit x."""
        return self._kept(bce_with_logits(x, target))
