"""Activations of every element and their gradients, with PyTorch's values at the kinks, at infinity and at NaN."""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry
from .path import ActivationPath

_call = Paths[ActivationPath]("activation").call


def relu(x: A) -> A:
    """y = max(x, 0). NaN stays NaN.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> relu(np.array([-2.0, 3.0]))
    array([0., 3.])
    """
    return _call("relu", _forward, (x,), "relu")


def relu_grad(dy: A, y: A) -> A:
    """The gradient of relu: dx = dy where y > 0, else 0. Where y is NaN dx is dy, as in PyTorch.

    dy: the gradient of relu's output, of any shape and float dtype.
    y: what relu returned for the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> relu_grad(np.ones(2), np.array([0.0, 3.0]))
    array([0., 1.])
    """
    return _call("relu_grad", _backward, (dy, y), "relu_grad", "y")


def relu6(x: A) -> A:
    """y = min(max(x, 0), 6). NaN stays NaN.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> relu6(np.array([-2.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """
    return _call("relu6", _forward, (x,), "relu6")


def relu6_grad(dy: A, y: A) -> A:
    """The gradient of relu6: dx = dy where 0 < y < 6, else 0. Where y is NaN dx is dy, as in PyTorch.

    dy: the gradient of relu6's output, of any shape and float dtype.
    y: what relu6 returned for the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> relu6_grad(np.ones(3), np.array([0.0, 3.0, 6.0]))
    array([0., 1., 0.])
    """
    return _call("relu6_grad", _backward, (dy, y), "relu6_grad", "y")


def leaky_relu(x: A, *, negative_slope: float = 0.01) -> A:
    """y = x where x > 0, else negative_slope * x.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    negative_slope: a finite number >= 0.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> leaky_relu(np.array([-2.0, 3.0]))
    array([-0.02,  3.  ])
    """
    return _call("leaky_relu", _forward, (x,), "leaky_relu", negative_slope)


def leaky_relu_grad(dy: A, y: A, *, negative_slope: float = 0.01) -> A:
    """The gradient of leaky_relu: dx = dy where y > 0, else negative_slope * dy.

    dy: the gradient of leaky_relu's output, of any shape and float dtype.
    y: what leaky_relu returned for the forward input, of dy's shape and dtype.
    negative_slope: a finite number >= 0.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> leaky_relu_grad(np.ones(2), np.array([-0.02, 3.0]))
    array([0.01, 1.  ])
    """
    return _call("leaky_relu_grad", _backward, (dy, y), "leaky_relu_grad", "y", negative_slope)


def sigmoid(x: A) -> A:
    """y = 1 / (1 + exp(-x)), without overflow for any x.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    return _call("sigmoid", _forward, (x,), "sigmoid")


def sigmoid_grad(dy: A, y: A) -> A:
    """The gradient of sigmoid: dx = dy * y * (1 - y).

    dy: the gradient of sigmoid's output, of any shape and float dtype.
    y: what sigmoid returned for the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> sigmoid_grad(np.ones(2), np.array([0.0, 0.5]))
    array([0.  , 0.25])
    """
    return _call("sigmoid_grad", _backward, (dy, y), "sigmoid_grad", "y")


def tanh(x: A) -> A:
    """y = tanh(x).

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return _call("tanh", _forward, (x,), "tanh")


def tanh_grad(dy: A, y: A) -> A:
    """The gradient of tanh: dx = dy * (1 - y²).

    dy: the gradient of tanh's output, of any shape and float dtype.
    y: what tanh returned for the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> tanh_grad(np.ones(2), np.array([0.5, 1.0]))
    array([0.75, 0.  ])
    """
    return _call("tanh_grad", _backward, (dy, y), "tanh_grad", "y")


def silu(x: A) -> A:
    """y = x * sigmoid(x) (Elfwing et al. 2018), also called swish. At -inf it is -inf * 0, NaN, as in PyTorch.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> silu(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    return _call("silu", _forward, (x,), "silu")


def silu_grad(dy: A, x: A) -> A:
    """The gradient of silu: dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x). NaN at infinities, as in PyTorch.

    dy: the gradient of silu's output, of any shape and float dtype.
    x: the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> silu_grad(np.ones(2), np.array([0.0, 1000.0]))
    array([0.5, 1. ])
    """
    return _call("silu_grad", _backward, (dy, x), "silu_grad", "x")


def gelu(x: A, *, approximate: str = "none") -> A:
    """y = x * cdf(x), cdf the normal distribution function (Hendrycks and Gimpel 2016).

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    approximate: 'none', or 'tanh' for x * (1 + tanh(√(2/π) * (x + 0.044715 * x³))) / 2. NaN where
    PyTorch's is: at -inf, and the gradient at both infinities.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> gelu(np.array([0.0, 1.0]))
    array([0.        , 0.84134475])
    """
    return _call("gelu", _forward, (x,), "gelu", approximate)


def gelu_grad(dy: A, x: A, *, approximate: str = "none") -> A:
    """The gradient of gelu: dx = dy * (cdf(x) + x * pdf(x)), or that of the tanh form.

    dy: the gradient of gelu's output, of any shape and float dtype.
    x: the forward input, of dy's shape and dtype.
    approximate: 'none', or 'tanh' for x * (1 + tanh(√(2/π) * (x + 0.044715 * x³))) / 2. NaN where
    PyTorch's is: at -inf, and the gradient at both infinities.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> gelu_grad(np.ones(2), np.array([0.0, 1.0]))
    array([0.5       , 1.08331547])
    """
    return _call("gelu_grad", _backward, (dy, x), "gelu_grad", "x", approximate)


def hardswish(x: A) -> A:
    """y = x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019). At -inf it is -inf * 0, NaN, as in PyTorch.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once.
    Returns y, of x's shape and dtype. Raises ValueError for options and TypeError for dtypes and array kinds, before
    any work.

    >>> import numpy as np
    >>> hardswish(np.array([-4.0, 1.5, 4.0]))
    array([-0.   ,  1.125,  4.   ])
    """
    return _call("hardswish", _forward, (x,), "hardswish")


def hardswish_grad(dy: A, x: A) -> A:
    """The gradient of hardswish: dx = 0 where x <= -3, dy where x >= 3, else dy * (x/3 + 1/2).

    dy: the gradient of hardswish's output, of any shape and float dtype.
    x: the forward input, of dy's shape and dtype.
    Returns dx, of their shape and dtype. Raises ValueError for shapes and options and TypeError for dtypes and array
    kinds, before any work.

    >>> import numpy as np
    >>> hardswish_grad(np.ones(3), np.array([-4.0, 1.5, 4.0]))
    array([0., 1., 1.])
    """
    return _call("hardswish_grad", _backward, (dy, x), "hardswish_grad", "x")


def _forward(x: Any, operation: str, *options: Any) -> tuple[Any, ...]:
    (x,) = checks.arrays(operation, x=x)
    return x, _geometry(operation, x.shape, *options)


def _backward(dy: Any, saved: Any, operation: str, name: str, *options: Any) -> tuple[Any, ...]:
    """name: that of the saved array, x or y."""
    dy, saved = checks.arrays(operation, **{"dy": dy, name: saved})
    checks.has_shape(operation, "dy", dy, saved.shape, f"the shape of {name}")
    return dy, saved, _geometry(operation, dy.shape, *options)


def _geometry(operation: str, shape: tuple[int, ...], *options: Any) -> ActivationGeometry:
    if not options:
        return ActivationGeometry(shape)
    made = GeluGeometry if operation.startswith("gelu") else LeakyReluGeometry
    return made.of(operation, shape, *options)
