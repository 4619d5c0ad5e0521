"""The operations along any number of axes: each runs its arrays' path on its checked arguments and their geometry.

The public functions are these with their rank; options are theirs, and so are the names of errors.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .. import checks
from ..dispatch import Paths
from ..layout import NCHW, windows_text
from ..types import A, Shape
from .geometry import ConvGeometry
from .path import ConvPath

_paths = Paths[ConvPath]("conv")
path_of, _call = _paths.of, _paths.call

Options: TypeAlias = dict[str, Any]
Checked: TypeAlias = tuple[Any, ...]


def conv(rank: int, x: A, w: A, b: A | None, **options: Any) -> A:
    return _call("conv", _conv, (x, w, b), rank, options)


def _conv(x: Any, w: Any, b: Any, rank: int, options: Options) -> Checked:
    operation = f"conv{rank}d"
    x, w, b = checks.arrays(operation, x=x, w=w, b=b)
    geometry = ConvGeometry.of(operation, x.shape, w.shape, rank=rank, **options)
    checks.bias(operation, b, geometry.K, (geometry.K, *[1] * rank))
    return x, w, b, geometry


def input_grad(rank: int, dy: A, w: A, x_shape: Shape, **options: Any) -> A:
    return _call("conv_input_grad", _input_grad, (dy, w), rank, x_shape, options)


def _input_grad(dy: Any, w: Any, rank: int, x_shape: Shape, options: Options) -> Checked:
    operation = f"conv{rank}d_input_grad"
    dy, w = checks.arrays(operation, dy=dy, w=w)
    return dy, w, _of_gradient(operation, dy, x_shape, w.shape, rank=rank, names=("x_shape", "w.shape"), **options)


def weight_grad(rank: int, dy: A, x: A, w_shape: Shape, **options: Any) -> A:
    return _call("conv_weight_grad", _parameter_grads, (dy, x), f"conv{rank}d_weight_grad", rank, w_shape, options)


def parameter_grads(rank: int, dy: A, x: A, w_shape: Shape, **options: Any) -> tuple[A, A]:
    operation = f"conv{rank}d_parameter_grads"
    return _call("conv_parameter_grads", _parameter_grads, (dy, x), operation, rank, w_shape, options)


def _parameter_grads(dy: Any, x: Any, operation: str, rank: int, w_shape: Shape, options: Options) -> Checked:
    dy, x = checks.arrays(operation, dy=dy, x=x)
    return dy, x, _of_gradient(operation, dy, x.shape, w_shape, rank=rank, names=("x.shape", "w_shape"), **options)


def bias_grad(rank: int, dy: A, layout: str = NCHW) -> A:
    return _call("conv_bias_grad", _bias_grad, (dy,), rank, layout)


def _bias_grad(dy: Any, rank: int, layout: str) -> Checked:
    operation = f"conv{rank}d_bias_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    return dy, ConvGeometry.of_output(operation, dy.shape, layout=layout, rank=rank)


def grads(rank: int, dy: A, x: A, w: A, **options: Any) -> tuple[A, A, A]:
    return _call("conv_grads", _grads, (dy, x, w), rank, options)


def _grads(dy: Any, x: Any, w: Any, rank: int, options: Options) -> Checked:
    operation = f"conv{rank}d_grads"
    dy, x, w = checks.arrays(operation, dy=dy, x=x, w=w)
    return dy, x, w, _of_gradient(operation, dy, x.shape, w.shape, rank=rank, **options)


def transpose(rank: int, x: A, w: A, b: A | None, **options: Any) -> A:
    return _call("conv_transpose", _transpose, (x, w, b), rank, options)


def _transpose(x: Any, w: Any, b: Any, rank: int, options: Options) -> Checked:
    operation = f"conv_transpose{rank}d"
    x, w, b = checks.arrays(operation, x=x, w=w, b=b)
    geometry = ConvGeometry.of_transposed(operation, x.shape, w.shape, rank=rank, **options)
    checks.bias(operation, b, geometry.C, (geometry.C, *[1] * rank))
    return x, w, b, geometry


def _of_gradient(operation: str, dy: Any, x_shape: Any, w_shape: Any, **options: Any) -> ConvGeometry:
    """The geometry of a gradient, its shapes and options checked."""
    geometry = ConvGeometry.of(operation, x_shape, w_shape, **options)
    axes = windows_text("K", geometry.rank, geometry.channels_last)
    checks.has_shape(operation, "dy", dy, geometry.y_shape, axes)
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
