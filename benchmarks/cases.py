"""A case is one operation on one shape in one dtype: its random arguments, what it costs, and how to call it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import backend, kernels
from ..kernels.geometry import Conv2dGeometry, LinearGeometry, Pool2dGeometry
from .suites import Layer, Shape
from .training import training_flops, training_step

Call = Callable[[], Any]


@dataclass(frozen=True)
class Operation:
    """`name` is the function's in backstride.kernels, `title` what tables call it, `family` the shapes it takes."""

    name: str
    title: str
    family: str


OPERATIONS = {
    name: Operation(name, title, family)
    for name, title, family in (
        ("conv2d", "conv forward", "conv"),
        ("conv2d_input_grad", "conv dx", "conv"),
        ("conv2d_weight_grad", "conv dw", "conv"),
        ("conv2d_bias_grad", "conv db", "conv"),
        ("max_pool2d", "max pool forward", "pool"),
        ("max_pool2d_grad", "max pool grad", "pool"),
        ("avg_pool2d", "avg pool forward", "pool"),
        ("avg_pool2d_grad", "avg pool grad", "pool"),
        ("linear", "linear forward", "linear"),
        ("linear_input_grad", "linear dx", "linear"),
        ("linear_weight_grad", "linear dw", "linear"),
        ("linear_bias_grad", "linear db", "linear"),
        ("training_step", "training step", "training"),
    )
}


@dataclass(frozen=True)
class Case:
    """One operation on one shape.

    `arguments` and `options` are what the operation's function takes, the arrays still NumPy's. `flops` counts a
    multiply and an add for each product (and one operation for each element a pooling window or a bias gradient
    reads), whatever the algorithm saves; `bytes` counts every input and output once.
    """

    shape: Shape
    batch: int
    operation: Operation
    dtype: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    flops: int
    bytes: int

    @property
    def label(self) -> str:
        return f"{self.shape.text} @{self.batch}"

    @property
    def group(self) -> str:
        """The operation's title; depthwise convolutions are a group of their own."""
        layer = Layer.parse(self.shape.text)
        depthwise = self.operation.family == "conv" and layer.depthwise
        return f"depthwise {self.operation.title}" if depthwise else self.operation.title

    @property
    def function(self) -> Callable[..., Any]:
        """Our implementation."""
        return training_step if self.operation.family == "training" else getattr(kernels, self.operation.name)

    def convert(self, asarray: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
        """The arguments with every array passed through `asarray`."""
        return tuple(asarray(a) if isinstance(a, np.ndarray) else a for a in self.arguments)

    def prepare(self, function: Callable[..., Any] | None = None) -> Call:
        """A call without arguments of `function` (None: ours), the arrays already on the backend in force."""
        function = function or self.function
        arguments = self.convert(backend.asarray)
        if self.operation.family == "training":
            return function(*arguments, **self.options)
        return partial(function, *arguments, **self.options)

    def in_float64(self) -> Case:
        """The same case on the same numbers, in double precision."""

        def widened(a: np.ndarray) -> np.ndarray:
            return a if a.dtype.kind in "iu" else a.astype(np.float64)

        return replace(self, dtype="float64", arguments=self.convert(widened))


def cases(shapes: Iterable[Shape], operations: Iterable[Operation], dtype: str, batch: int) -> Iterator[Case]:
    """Every operation on every shape of its family; `batch` is for the shapes that fix none."""
    operations = tuple(operations)
    for shape in shapes:
        for operation in operations:
            if operation.family == shape.family:
                yield make_case(shape, operation, dtype, batch)


def make_case(shape: Shape, operation: Operation, dtype: str, batch: int) -> Case:
    """The case with its random arguments: the same numbers for the same shape, whatever else is measured."""
    batch = batch if shape.batch is None else shape.batch
    layer = Layer.parse(shape.text)
    rng = np.random.default_rng(zlib.crc32(shape.text.encode()))
    arguments, options, flops, results = _MAKERS[operation.family](operation.name, layer, batch, _Normal(rng, dtype))
    # A training step moves every activation and parameter several times, how often is no property of the network.
    moved = 0 if operation.family == "training" else sum(map(_size, arguments)) + results
    return Case(shape, batch, operation, dtype, arguments, options, flops, moved)


def _size(argument: Any) -> int:
    return argument.nbytes if isinstance(argument, np.ndarray) else 0


class _Normal:
    """Normal random arrays of one dtype: zeros or patterns would flatter a GPU, which draws less power on them."""

    def __init__(self, rng: np.random.Generator, dtype: str):
        self.rng, self.dtype = rng, dtype_named(dtype)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype=np.float32).astype(self.dtype, copy=False)

    def nbytes(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self.dtype.itemsize


def dtype_named(name: str) -> np.dtype:
    """The NumPy dtype of that name; bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


_Made = tuple[tuple[Any, ...], dict[str, Any], int, int]
"""Arguments, options, operations, and bytes of the results."""


def _conv(name: str, layer: Layer, batch: int, normal: _Normal) -> _Made:
    x_shape = (batch, layer.C, *layer.extents)
    w_shape = (layer.K, layer.C // layer.groups, *layer.kernel)
    geometry = Conv2dGeometry.of(name, x_shape, w_shape, **layer.conv_options)
    y_shape = geometry.y_shape
    if name == "conv2d":
        arguments: tuple[Any, ...] = normal(x_shape), normal(w_shape), normal((layer.K,))
        return arguments, layer.conv_options, geometry.flops, normal.nbytes(y_shape)
    if name == "conv2d_input_grad":
        return (normal(y_shape), normal(w_shape), x_shape), layer.conv_options, geometry.flops, normal.nbytes(x_shape)
    if name == "conv2d_weight_grad":
        return (normal(y_shape), normal(x_shape), w_shape), layer.conv_options, geometry.flops, normal.nbytes(w_shape)
    return (normal(y_shape),), {}, math.prod(y_shape), normal.nbytes((layer.K,))


def _pool(name: str, layer: Layer, batch: int, normal: _Normal) -> _Made:
    x_shape = (batch, layer.C, *layer.extents)
    geometry = Pool2dGeometry.of(name, x_shape, layer.kernel, **layer.pool_options)
    windows = math.prod(geometry.y_shape)
    read = windows * geometry.R * geometry.S
    taps = windows * geometry.tap_dtype.itemsize
    y_bytes, x_bytes = normal.nbytes(geometry.y_shape), normal.nbytes(x_shape)
    if name == "max_pool2d":
        return (normal(x_shape), layer.kernel), layer.pool_options, read, y_bytes + taps
    if name == "avg_pool2d":
        return (normal(x_shape), layer.kernel), layer.pool_options, read, y_bytes
    if name == "avg_pool2d_grad":
        return (normal(geometry.y_shape), x_shape, layer.kernel), layer.pool_options, read, x_bytes
    _, won = kernels.max_pool2d(normal(x_shape), layer.kernel, **layer.pool_options)
    return (normal(geometry.y_shape), won, x_shape, layer.kernel), layer.pool_options, windows, x_bytes


def _linear(name: str, layer: Layer, batch: int, normal: _Normal) -> _Made:
    geometry = LinearGeometry(N=batch, F=layer.C, O=layer.K, batch_axis=0)
    x_shape, w_shape, y_shape = geometry.x_shape, geometry.w_shape, geometry.y_shape
    if name == "linear":
        arguments: tuple[Any, ...] = normal(x_shape), normal(w_shape), normal((layer.K,))
        return arguments, {}, geometry.flops, normal.nbytes(y_shape)
    if name == "linear_input_grad":
        return (normal(y_shape), normal(w_shape)), {}, geometry.flops, normal.nbytes(x_shape)
    if name == "linear_weight_grad":
        return (normal(y_shape), normal(x_shape)), {}, geometry.flops, normal.nbytes(w_shape)
    return (normal(y_shape),), {}, math.prod(y_shape), normal.nbytes((layer.K,))


def _training(name: str, layer: Layer, batch: int, normal: _Normal) -> _Made:
    images = normal((batch, layer.C, *layer.extents))
    labels = normal.rng.integers(0, layer.K, batch)
    return (images, labels), {}, training_flops(images.shape), 0


_MAKERS: dict[str, Callable[[str, Layer, int, _Normal], _Made]] = {
    "conv": _conv,
    "pool": _pool,
    "linear": _linear,
    "training": _training,
}
