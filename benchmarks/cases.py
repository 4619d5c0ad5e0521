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
from ..kernels import dtypes
from ..kernels.conv.cases import CONV
from ..kernels.conv.geometry import ConvGeometry
from ..kernels.linear.cases import LINEAR
from ..kernels.pool.cases import AVG_POOL, MAX_POOL
from ..kernels.pool.geometry import PoolGeometry
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

    `group` is the operation's title; products of depthwise convolutions are groups of their own. `arguments` and
    `options` are what the operation's function takes, the arrays still NumPy's. `flops` counts a multiply and an add
    for each product (and one operation for each element that a pooling window or a bias gradient reads), whatever the
    algorithm saves; `bytes` counts every input and output once.
    """

    suite: str
    label: str
    source: str
    group: str
    operation: Operation
    dtype: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    flops: int
    bytes: int

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
            call: Call = function(*arguments)
            return call
        return partial(function, *arguments, **self.options)

    def in_float64(self) -> Case:
        """The same case on the same numbers, in double precision."""

        def widened(a: np.ndarray) -> np.ndarray:
            return a if a.dtype.kind in "iu" else a.astype(np.float64)

        return replace(self, dtype="float64", arguments=self.convert(widened))


Draw = Callable[[tuple[int, ...]], np.ndarray]


def cases(suite: Iterable[Shape], operations: Iterable[Operation], dtype: str, batch: int) -> Iterator[Case]:
    """Every operation on every shape of its family; `batch` is for the shapes that fix none.

    The numbers are normal and random: zeros or patterns would flatter a GPU, which draws less power on them. A shape
    meets the same numbers whatever else is measured.
    """
    operations = tuple(operations)
    for shape in suite:
        layer = Layer.parse(shape.text)
        images = batch if shape.batch is None else shape.batch
        for operation in operations:
            if operation.family == shape.family:
                draw = _normal(shape.text, dtype)
                x_shape, w_shape, options = layer.arguments(shape.family, images)
                depthwise = layer.depthwise and operation.name != "conv2d_bias_grad"
                yield Case(
                    shape.suite,
                    f"{shape.text} @{images}",
                    shape.source,
                    f"depthwise {operation.title}" if depthwise else operation.title,
                    operation,
                    dtype,
                    *_MAKERS[shape.family](operation.name, x_shape, w_shape, options, draw),
                )


_AWKWARD = {
    "conv2d": CONV,
    "max_pool2d": MAX_POOL,
    "avg_pool2d": AVG_POOL,
    "linear": LINEAR,
}


def awkward_cases(operation: Operation, dtype: str) -> Iterator[Case]:
    """The operation on the configurations of the conformance suite, those that catch a kernel's usual mistakes.

    The numbers are multiples of a half, so that maxima tie. ValueError for the training step, which has none.
    """
    names = [name for name in _AWKWARD if operation.name.startswith(name)]
    if not names:
        raise ValueError(f"operation is {operation.name!r}; expected one with a function in backstride.kernels")
    for shape in _AWKWARD[names[0]]:
        draw = _normal(shape.name, dtype)

        def halves(extents: tuple[int, ...], draw: Draw = draw) -> np.ndarray:
            numbers = draw(extents)
            return (np.round(2 * numbers) / 2).astype(numbers.dtype)

        made = _MAKERS[operation.family](operation.name, shape.x, shape.w, shape.options, halves)
        yield Case("awkward", shape.name, "backstride.kernels", operation.title, operation, dtype, *made)


def _normal(seed: str, dtype: str) -> Draw:
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    kind = dtypes.named(dtype)
    return lambda extents: rng.standard_normal(extents, dtype=np.float32).astype(kind, copy=False)


_Made = tuple[tuple[Any, ...], dict[str, Any], int, int]
"""Arguments, options, operations and bytes."""


def _made(arguments: tuple[Any, ...], options: dict[str, Any], flops: int, result: int) -> _Made:
    """`result` is the bytes of what the operation returns."""
    moved = sum(a.nbytes for a in arguments if isinstance(a, np.ndarray)) + result
    return arguments, options, flops, moved


def _conv(name: str, x_shape: Any, w_shape: Any, options: dict[str, Any], draw: Draw) -> _Made:
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    g = ConvGeometry.of(name, x_shape, w_shape, **settings)
    x_size, w_size, y_size = map(math.prod, (x_shape, w_shape, g.y_shape))
    if name == "conv2d":
        x = draw(x_shape)
        return _made((x, draw(w_shape), draw((g.K,))), options, g.flops, y_size * x.itemsize)
    dy = draw(g.y_shape)
    if name == "conv2d_input_grad":
        return _made((dy, draw(w_shape), x_shape), options, g.flops, x_size * dy.itemsize)
    if name == "conv2d_weight_grad":
        return _made((dy, draw(x_shape), w_shape), options, g.flops, w_size * dy.itemsize)
    return _made((dy,), {}, y_size, g.K * dy.itemsize)


def _pool(name: str, x_shape: Any, _: Any, options: dict[str, Any], draw: Draw) -> _Made:
    window = {key: options[key] for key in options.keys() - {"count_include_pad", "divisor_override"}}
    g = PoolGeometry.of(name, x_shape, **window)
    windows = math.prod(g.y_shape)
    read = windows * g.R * g.S
    x = draw(x_shape)
    if name == "avg_pool2d":
        return _made((x,), options, read, windows * x.itemsize)
    if name == "max_pool2d":
        return _made((x,), options, read, windows * (x.itemsize + g.tap_dtype.itemsize))
    dy = draw(g.y_shape)
    if name == "avg_pool2d_grad":
        return _made((dy, x_shape), options, read, x.nbytes)
    return _made((dy, kernels.max_pool2d(x, **options)[1], x_shape), options, windows, x.nbytes)


def _linear(name: str, x_shape: Any, w_shape: Any, options: dict[str, Any], draw: Draw) -> _Made:
    (n, f), (o, _) = x_shape, w_shape
    flops = 2 * n * f * o
    if name == "linear":
        x = draw(x_shape)
        return _made((x, draw(w_shape), draw((o,))), options, flops, n * o * x.itemsize)
    dy = draw((n, o))
    if name == "linear_input_grad":
        return _made((dy, draw(w_shape)), options, flops, n * f * dy.itemsize)
    if name == "linear_weight_grad":
        return _made((dy, draw(x_shape)), options, flops, o * f * dy.itemsize)
    return _made((dy,), options, n * o, o * dy.itemsize)


def _training(name: str, x_shape: Any, w_shape: Any, options: dict[str, Any], draw: Draw) -> _Made:
    """Bytes are left at 0: how often a step moves its activations is no property of the network."""
    images = draw(x_shape)
    labels = np.arange(len(images)) % w_shape[0]
    return (images, labels), options, training_flops(images.shape), 0


_MAKERS: dict[str, Callable[[str, Any, Any, dict[str, Any], Draw], _Made]] = {
    "conv": _conv,
    "pool": _pool,
    "linear": _linear,
    "training": _training,
}
