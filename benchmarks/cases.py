"""A case is one operation on one shape in one dtype: its random inputs, what it costs, and how to call it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import backend, kernels
from ..conformance import calls
from ..kernels import dtypes
from ..kernels.layout import NCHW
from ..kernels.operation import (
    Case,
    Function,
    Input,
    Operation,
    Output,
    as_tuple,
    dtype_of,
    function_on,
    geometry_of,
    outputs_of,
    room_module,
    takes_options,
)
from ..kernels.types import Shape
from . import optimizer_steps, suites, training, training_peers

Call = Callable[[], Any]
Draw = Callable[[Shape], np.ndarray]


STEPS: dict[Operation, tuple[Callable[..., Call], Any]] = {
    training.OPERATION: (training.training_step, training_peers),
    optimizer_steps.SGD: (optimizer_steps.sgd_step, optimizer_steps),
    optimizer_steps.ADAM: (optimizer_steps.adam_step, optimizer_steps),
}
"""Operations that no room has: what makes a call of one, and the module with its forms by others."""


def peers_of(operation: Operation) -> Any:
    """The module with the operation's TEXTBOOK, TORCH and CUBLAS forms."""
    return STEPS[operation][1] if operation in STEPS else room_module(operation.family.room, "peers")


FUNCTIONS = {
    function.name: function
    for function in (*kernels.FUNCTIONS.values(), *(Function(operation, 0) for operation in STEPS))
    if function.operation.name in peers_of(function.operation).TEXTBOOK
}
"""What is measured: every operation that others compute too, on every rank."""


@dataclass(frozen=True)
class Workload:
    """One operation on one configuration.

    `group` is the operation's title; products of depthwise convolutions are groups of their own. `arrays` are the
    operation's inputs, NumPy's, or None. `bytes` counts every input and output once.
    """

    suite: str
    label: str
    source: str
    group: str
    operation: Operation
    configuration: Case
    dtype: str
    arrays: tuple[Any, ...]

    @property
    def geometry(self) -> Any:
        return geometry_of(self.operation, self.configuration)

    @property
    def flops(self) -> int:
        """A multiply and an add for each product, an operation for each element that is only read, whatever the
        algorithm saves."""
        return self.operation.flops(self.geometry)

    @property
    def bytes(self) -> int:
        """0 for an operation whose outputs are not recorded."""
        if not self.operation.outputs:
            return 0
        read = sum(a.nbytes for a in self.arrays if a is not None)
        return read + sum(map(self._nbytes, outputs_of(self.operation, self.geometry)))

    def _nbytes(self, output: Output) -> int:
        dtype = dtype_of(output, self.geometry, self.arrays[0].dtype)
        return math.prod(output.shape(self.geometry)) * dtype.itemsize

    def convert(self, asarray: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
        """The inputs, each passed through `asarray` but for None, which stands for one that is not given."""
        return tuple(None if a is None else asarray(a) for a in self.arrays)

    def prepare(self, function: Callable[..., Any] | None = None) -> Call:
        """A call without arguments of `function` (None: ours), the arrays already on the backend in force."""
        arrays = self.convert(backend.asarray)
        if self.operation in STEPS:
            return STEPS[self.operation][0](*arrays)
        return calls.public_call(self.operation, self.configuration, (*arrays, self.geometry), function)

    def in_float64(self) -> Workload:
        """The same case on the same numbers, in double precision."""
        wide = self.convert(lambda a: a if a.dtype.kind in "iu" else a.astype(np.float64))
        return replace(self, dtype="float64", arrays=wide)


def takes(function: Function, shape: suites.Shape, dtype: str, layout: str = NCHW) -> bool:
    """Whether the function is measured on this shape: with channels last what has that layout. Steps in 16 bits are
    not: gradients have passed so many roundings that right and wrong cannot be told apart."""
    operation = function.operation
    rounded = operation in STEPS and dtypes.named(dtype).itemsize == 2
    rank = suites.Notation.parse(shape.text).rank
    return suites.measures(shape, operation, layout) and function.rank in (0, rank) and not rounded


def cases(
    shapes: Iterable[suites.Shape], functions: Iterable[Function], dtype: str, batch: int, layout: str = NCHW
) -> Iterator[Workload]:
    """Every function on every shape of its room; `batch` is for the shapes that fix none.

    The numbers are normal and random: zeros or patterns would flatter a GPU, which draws less power on them. A shape
    meets the same numbers whatever else is measured.
    """
    functions = tuple(functions)
    for shape in shapes:
        layer = suites.Notation.parse(shape.text)
        images = batch if shape.batch is None else shape.batch
        label = f"{shape.text} @{images}" + (f" {layout}" if layout != NCHW else "")
        configuration = Case(label, *layer.arguments(shape.family, images, layout))
        for function in functions:
            if takes(function, shape, dtype, layout):
                operation = function.operation
                arrays = _inputs(operation, geometry_of(operation, configuration), _normal(shape.text, dtype))
                depthwise = "depthwise " if layer.depthwise and operation.is_product else ""
                where = (shape.suite, configuration.name, shape.source, depthwise + operation.title)
                yield Workload(*where, operation, configuration, dtype, arrays)


def awkward_cases(function: Function, dtype: str) -> Iterator[Workload]:
    """The function on the configurations of the conformance suite, those that catch a kernel's usual mistakes.

    The numbers are multiples of a half, so that maxima tie. ValueError for the training step, which has none.
    """
    operation = function.operation
    if not operation.family.cases:
        raise ValueError(f"operation is {operation.name!r}; expected one with a function in backstride.kernels")
    for case in operation.family.cases:
        if function_on(operation, case) != function or not takes_options(operation, case.options):
            continue
        arrays = _inputs(operation, geometry_of(operation, case), _halves(_normal(case.name, dtype)))
        yield Workload("awkward", case.name, "backstride.kernels", operation.title, operation, case, dtype, arrays)


def _normal(seed: str, dtype: str) -> Draw:
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    kind = dtypes.named(dtype)
    return lambda shape: rng.standard_normal(shape, dtype=np.float32).astype(kind, copy=False)


def _halves(draw: Draw) -> Draw:
    def halves(shape: Shape) -> np.ndarray:
        numbers = draw(shape)
        return (np.round(2 * numbers) / 2).astype(numbers.dtype)

    return halves


def _inputs(operation: Operation, g: Any, draw: Draw) -> tuple[Any, ...]:
    """Random numbers, and what the textbook's forward operation makes of them."""
    known = dict[str, Any]()

    def made(each: Input) -> Any:
        if not each.present(g):
            return None
        if each.name not in known and each.saved:
            forward = calls.members(operation.family)[0]
            results = as_tuple(peers_of(forward).TEXTBOOK[forward.name](*map(made, forward.inputs), g))
            known.update({o.name: result for o, result in zip(outputs_of(forward, g), results, strict=True)})
        elif each.name not in known:
            known[each.name] = calls.fitting(each, g, draw(each.shape(g)))
        return known[each.name]

    return tuple(map(made, operation.inputs))
