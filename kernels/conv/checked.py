"""The operations along any number of axes: each checks its arguments, fixes the geometry and runs its arrays' path.

The public functions are these with their rank; options are theirs, and so are the names of errors.
"""

from __future__ import annotations

from typing import Any

from .. import checks
from ..dispatch import Paths
from ..types import A, Shape
from .geometry import ConvGeometry
from .path import ConvPath

path_of = Paths[ConvPath]("conv").of


def conv(rank: int, x: A, w: A, b: A | None, **options: Any) -> A:
    operation = f"conv{rank}d"
    x, w, b = checks.arrays(operation, x=x, w=w, b=b)
    geometry = ConvGeometry.of(operation, x.shape, w.shape, rank=rank, **options)
    checks.bias(operation, b, geometry.K, geometry.b_shape)
    return path_of(x).conv(x, w, b, geometry)


def input_grad(rank: int, dy: A, w: A, x_shape: Shape, **options: Any) -> A:
    operation = f"conv{rank}d_input_grad"
    dy, w = checks.arrays(operation, dy=dy, w=w)
    names = ("x_shape", "w.shape")
    geometry = _of_gradient(operation, dy, x_shape, w.shape, rank=rank, names=names, **options)
    return path_of(dy).conv_input_grad(dy, w, geometry)


def weight_grad(rank: int, dy: A, x: A, w_shape: Shape, **options: Any) -> A:
    operation = f"conv{rank}d_weight_grad"
    dy, x = checks.arrays(operation, dy=dy, x=x)
    geometry = _of_gradient(operation, dy, x.shape, w_shape, rank=rank, names=("x.shape", "w_shape"), **options)
    return path_of(dy).conv_weight_grad(dy, x, geometry)


def bias_grad(rank: int, dy: A) -> A:
    operation = f"conv{rank}d_bias_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    return path_of(dy).conv_bias_grad(dy, ConvGeometry.of_output(operation, dy.shape, rank=rank))


def parameter_grads(rank: int, dy: A, x: A, w_shape: Shape, **options: Any) -> tuple[A, A]:
    operation = f"conv{rank}d_parameter_grads"
    dy, x = checks.arrays(operation, dy=dy, x=x)
    geometry = _of_gradient(operation, dy, x.shape, w_shape, rank=rank, names=("x.shape", "w_shape"), **options)
    return path_of(dy).conv_parameter_grads(dy, x, geometry)


def grads(rank: int, dy: A, x: A, w: A, **options: Any) -> tuple[A, A, A]:
    operation = f"conv{rank}d_grads"
    dy, x, w = checks.arrays(operation, dy=dy, x=x, w=w)
    geometry = _of_gradient(operation, dy, x.shape, w.shape, rank=rank, **options)
    return path_of(dy).conv_grads(dy, x, w, geometry)


def transpose(rank: int, x: A, w: A, b: A | None, **options: Any) -> A:
    operation = f"conv_transpose{rank}d"
    x, w, b = checks.arrays(operation, x=x, w=w, b=b)
    geometry = ConvGeometry.of_transposed(operation, x.shape, w.shape, rank=rank, **options)
    checks.bias(operation, b, geometry.C, (geometry.C, *geometry.b_shape[1:]))
    return path_of(x).conv_transpose(x, w, b, geometry)


def _of_gradient(operation: str, dy: Any, x_shape: Any, w_shape: Any, **options: Any) -> ConvGeometry:
    """The geometry of a gradient, its shapes and options checked."""
    geometry = ConvGeometry.of(operation, x_shape, w_shape, **options)
    checks.has_shape(operation, "dy", dy, geometry.y_shape, checks.windows_text("K", geometry.rank))
    return geometry


def transpose_input_grad(rank: int, dy: A, w: A, x_shape: Shape, **options: Any) -> A:
    """The gradient of conv_transpose with respect to x, with any output_padding: a convolution of dy."""
    operation = f"conv_transpose{rank}d"
    dy, w = checks.arrays(operation, dy=dy, w=w)
    geometry = _of_transposed_gradient(operation, dy, x_shape, w.shape, rank=rank, **options)
    return path_of(dy).conv(dy, w, None, geometry)


def transpose_weight_grad(rank: int, dy: A, x: A, w_shape: Shape, **options: Any) -> A:
    """The gradient of conv_transpose with respect to w, with any output_padding: dy and x change places."""
    operation = f"conv_transpose{rank}d"
    dy, x = checks.arrays(operation, dy=dy, x=x)
    geometry = _of_transposed_gradient(operation, dy, x.shape, w_shape, rank=rank, **options)
    return path_of(dy).conv_weight_grad(x, dy, geometry)


def _of_transposed_gradient(operation: str, dy: Any, x_shape: Any, w_shape: Any, **options: Any) -> ConvGeometry:
    geometry = ConvGeometry.of_transposed(operation, x_shape, w_shape, **options)
    checks.has_shape(operation, "dy", dy, geometry.x_shape, "the output's")
    return geometry
