"""Softmax and its logarithm along an axis, and their gradients."""

from __future__ import annotations

from .. import checks
from ..dispatch import Paths
from ..types import A
from .geometry import SoftmaxGeometry
from .path import SoftmaxPath

path_of = Paths[SoftmaxPath]("softmax").of


def softmax(x: A, axis: int = -1) -> A:
    """y = exp(x) / sum of exp(x) along an axis, for x of any size.

    x: of at least one axis, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and
    rounded once. axis: an int, negative ones counted from the end.
    Returns y, of x's shape and dtype. Raises ValueError for the axis and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> softmax(np.array([[1000.0, 1000.0], [-np.inf, 0.0]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    (x,) = checks.arrays("softmax", x=x)
    return path_of(x).softmax(x, SoftmaxGeometry.of("softmax", x.shape, axis))


def softmax_grad(dy: A, y: A, axis: int = -1) -> A:
    """The gradient of softmax: dx = y * (dy - sum of dy * y along the axis).

    dy: the gradient of softmax's output, of float dtype. y: what softmax returned for the forward input, of dy's shape
    and dtype. axis: an int, negative ones counted from the end.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and the axis and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> softmax_grad(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    dy, y = checks.arrays("softmax_grad", dy=dy, y=y)
    checks.has_shape("softmax_grad", "dy", dy, y.shape, "the shape of y")
    return path_of(dy).softmax_grad(dy, y, SoftmaxGeometry.of("softmax_grad", y.shape, axis, "y"))


def log_softmax(x: A, axis: int = -1) -> A:
    """y = x - log(sum of exp(x)) along an axis, for x of any size.

    x: of at least one axis, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and
    rounded once. axis: an int, negative ones counted from the end.
    Returns y, of x's shape and dtype. Raises ValueError for the axis and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    (x,) = checks.arrays("log_softmax", x=x)
    return path_of(x).log_softmax(x, SoftmaxGeometry.of("log_softmax", x.shape, axis))


def log_softmax_grad(dy: A, y: A, axis: int = -1) -> A:
    """The gradient of log_softmax: dx = dy - exp(y) * sum of dy along the axis.

    dy: the gradient of log_softmax's output, of float dtype. y: what log_softmax returned for the forward input, of
    dy's shape and dtype. axis: an int, negative ones counted from the end.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and the axis and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> log_softmax_grad(np.array([1.0, 0.0]), np.log([0.25, 0.75])).round(2)
    array([ 0.75, -0.75])
    """
    dy, y = checks.arrays("log_softmax_grad", dy=dy, y=y)
    checks.has_shape("log_softmax_grad", "dy", dy, y.shape, "the shape of y")
    return path_of(dy).log_softmax_grad(dy, y, SoftmaxGeometry.of("log_softmax_grad", y.shape, axis, "y"))
