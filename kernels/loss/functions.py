"""Losses: their value, the mean over what they are given, and the gradient, in one pass."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A, Array
from .geometry import CrossEntropyGeometry, ElementLossGeometry
from .labels import checked_labels
from .path import LossPath

path_of = Paths[LossPath]("loss").of


def cross_entropy(
    x: A,
    labels: Array,
    *,
    weight: A | None = None,
    axis: int = 1,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> tuple[Any, A]:
    """The mean of -log softmax(x)[label], for integer labels, and its gradient.

    x: logits, with the K classes along `axis`, such as (N, K) or (N, K, *X), of NumPy or CuPy, float16, bfloat16,
    float32 or float64; 16-bit is computed in float32. labels: 0 to K-1 in x's shape without that axis, of any integer
    dtype. weight: (K,) of x's dtype, or None for 1 each; the mean is then weighted. label_smoothing: from 0 to 1, which
    part of each label all classes share (Szegedy et al. 2016). ignore_index: None, or the label of what is left out.
    Returns (loss, dx): loss a 0-d array of x's dtype, or float32 for 16 bits, NaN where no sample counts; dx as x. The
    formulas with weights and smoothing are PyTorch's (aten/src/ATen/native/LossNLL.cpp).
    Raises ValueError for shapes, options and on NumPy labels out of range, and TypeError for dtypes and array kinds,
    before any work. On CuPy finding such a label would mean waiting for the device: there the loss and that sample's
    gradient become NaN.

    >>> import numpy as np
    >>> loss, dx = cross_entropy(np.array([[0.0, np.log(3)]]), np.array([1]))
    >>> loss.round(4), dx
    (np.float64(0.2877), array([[ 0.25, -0.25]]))
    """
    operation = "cross_entropy"
    if weight is None:
        (x,) = checks.arrays(operation, x=x)
    else:
        x, weight = checks.arrays(operation, x=x, weight=weight)
    x, labels = checks.one_library(operation, x=x, labels=labels)
    geometry = CrossEntropyGeometry.of_loss(
        operation,
        x.shape,
        axis=axis,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        weight=weight is not None,
    )
    if weight is not None:
        checks.has_shape(operation, "weight", weight, (geometry.length,), "(K,)")
    labels = checked_labels(operation, labels, geometry, "the shape of x without its classes")
    return path_of(x).cross_entropy(x, labels, weight, geometry)


def mse(x: A, target: A) -> tuple[Any, A]:
    """The mean of (x - target)², and its gradient for x: dx = 2 (x - target) / size.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32. target: of
    x's shape and dtype.
    Returns (loss, dx): loss a 0-d array of x's dtype, or float32 for 16 bits, NaN for empty arrays; dx as x. Raises
    ValueError for shapes and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> mse(np.array([1.0, 5.0]), np.array([1.0, 3.0]))
    (array(2.), array([0., 2.]))
    """
    x, target = checks.arrays("mse", x=x, target=target)
    checks.has_shape("mse", "target", target, x.shape, "the shape of x")
    return path_of(x).mse(x, target, ElementLossGeometry(x.shape))


def bce_with_logits(x: A, target: A) -> tuple[Any, A]:
    """The mean of -target log p - (1 - target) log(1 - p), p = sigmoid(x), and its gradient for x: dx = (p - target) /
    size.

    x: logits of any size and shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in
    float32. target: of x's shape and dtype, from 0 to 1.
    Returns (loss, dx): loss a 0-d array of x's dtype, or float32 for 16 bits, NaN for empty arrays; dx as x. Raises
    ValueError for shapes and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> loss, dx = bce_with_logits(np.array([0.0, 1000.0]), np.array([0.0, 1.0]))
    >>> loss.round(4), dx
    (np.float64(0.3466), array([0.25, 0.  ]))
    """
    x, target = checks.arrays("bce_with_logits", x=x, target=target)
    checks.has_shape("bce_with_logits", "target", target, x.shape, "the shape of x")
    return path_of(x).bce_with_logits(x, target, ElementLossGeometry(x.shape))
