"""What an operation is: one record that every table, check and measurement of it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from ..jit import get_jit
from .types import Shape

Compute = Callable[..., Any]
"""A path's function: it takes an operation's inputs and a geometry and returns its output, or a tuple of them."""


X_SHAPE, W_SHAPE, Y_SHAPE, B_SHAPE = map(attrgetter, ("x_shape", "w_shape", "y_shape", "b_shape"))
"""What a geometry says of the shapes of x, w, y and b, and so of their gradients."""


@dataclass(frozen=True)
class Case:
    """One configuration: the extents and the options, named for what is awkward about it.

    x and w: shapes of the forward operation's; those without weights have no w.
    """

    name: str
    x: Shape
    w: Shape = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def always(geometry: Any) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Input:
    """An array that an operation takes, with its shape in a geometry.

    dtype: in a geometry and a call on arrays of a dtype, where it is not that. present: whether it is given in a
    geometry; None takes its place where it is not. saved: it is the output of this name of the family's forward
    operation. finite: checks keep it so, that infinities and NaN come out only where they went in. below: of one that
    holds natural numbers, such as labels, what they are less than.
    """

    name: str
    shape: Callable[[Any], Shape]
    dtype: Callable[[Any, np.dtype], np.dtype] | None = None
    present: Callable[[Any], bool] = always
    saved: bool = False
    finite: bool = False
    below: Callable[[Any], int] | None = None


@dataclass(frozen=True, eq=False)
class Output:
    """An array that an operation returns, with its shape in a geometry.

    terms: how many terms an element adds up at most; None: it is exact. dtype: in a geometry and a call on arrays of a
    dtype, where it is not that. present: whether it is returned in a geometry. between: of an element in 16 bits the
    magnitude of what was rounded to them on the way; it is given what Operation.magnitudes is.
    """

    name: str
    shape: Callable[[Any], Shape]
    terms: Callable[[Any], int] | None
    dtype: Callable[[Any, np.dtype], np.dtype] | None = None
    present: Callable[[Any], bool] = always
    between: Callable[[Compute, tuple[Any, ...], Any], Any] | None = None


@dataclass(frozen=True, eq=False)
class Family:
    """Operations on the same shapes: a forward operation, the first of them, and what belongs to it.

    room: the folder beside this file that has their paths. options: with their defaults; of_forward: those that the
    forward operation alone takes, and its gradients pass over. geometry: from the name of a public function, the shapes
    of x and w, all options and, of a family with ranks, the rank; ValueError where one is wrong. case: the shapes and
    options that make a geometry, without those that it has by default. cases: awkward and small; large_cases: too large
    for an emulator. ranks: the numbers of axes, beside N and C, that there are public functions for; 0: for any number,
    of which their names say nothing.
    """

    name: str
    room: str
    options: Mapping[str, Any]
    geometry: Callable[..., Any]
    case: Callable[[Any], Case]
    cases: tuple[Case, ...]
    large_cases: tuple[Case, ...] = ()
    ranks: tuple[int, ...] = (0,)
    of_forward: tuple[str, ...] = ()


def of_absolute_values(compute: Compute, inputs: tuple[Any, ...], geometry: Any) -> Any:
    """What the operation makes of its inputs' absolute values: a sum of products' sum of magnitudes."""
    magnitudes = (np.abs(a) if a is not None and a.dtype.kind == "f" else a for a in inputs)
    return compute(*magnitudes, geometry)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation, along any number of axes. On every path it is a function of its inputs and a geometry that returns
    its outputs; it is named as that function, and begins with the family's name.

    title: what tables call it. flops: a multiply and an add for each product, one operation for each element that is
    only read. is_product: whether tensor cores may compute it. parts: of a composite, the operations whose outputs it
    returns together. magnitudes: of each output, what an element's error is bounded by in roundings, one for each of
    its terms; it is given the operation itself, in float64, its inputs and the geometry.
    """

    name: str
    title: str
    family: Family
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    flops: Callable[[Any], int]
    is_product: bool = False
    parts: tuple[Operation, ...] = ()
    magnitudes: Callable[[Compute, tuple[Any, ...], Any], Any] = of_absolute_values


def composite(name: str, title: str, inputs: tuple[Input, ...], *parts: Operation) -> Operation:
    """The operation that returns its parts' outputs together; an input is given to the parts that name it."""
    return Operation(
        name,
        title,
        parts[0].family,
        inputs,
        outputs=tuple(output for part in parts for output in part.outputs),
        flops=lambda g: sum(part.flops(g) for part in parts),
        is_product=any(part.is_product for part in parts),
        parts=parts,
    )


class Function(NamedTuple):
    """A public function: an operation along `rank` axes; 0: along any number."""

    operation: Operation
    rank: int

    @property
    def name(self) -> str:
        """The operation's, with the rank after the family's: conv_input_grad along two axes is conv2d_input_grad."""
        stem = self.operation.family.name
        axes = f"{self.rank}d" if self.rank else ""
        return f"{stem}{axes}{self.operation.name.removeprefix(stem)}"


def functions_of(operation: Operation) -> tuple[Function, ...]:
    """The operation's public functions, one for each rank."""
    return tuple(Function(operation, rank) for rank in operation.family.ranks)


def function_on(operation: Operation, case: Case) -> Function:
    """The public function that takes this case."""
    return Function(operation, len(case.x) - 2 if any(operation.family.ranks) else 0)


def takes_options(operation: Operation, options: Mapping[str, Any]) -> bool:
    """Whether the operation takes all of these options of its family: some are those of the forward operation alone."""
    family = operation.family
    return operation.name == family.name or not options.keys() & family.of_forward


def function_of(operation: Operation, geometry: Any) -> Function:
    """The public function whose calls have this geometry."""
    return function_on(operation, operation.family.case(geometry))


def geometry_of(operation: Operation, case: Case) -> Any:
    """The geometry of the operation on this case; ValueError where a shape or an option is wrong."""
    family, function = operation.family, function_on(operation, case)
    for name in case.options.keys() - family.options:
        raise ValueError(f"{function.name} has no option {name}; expected {', '.join(family.options)}")
    rank = {"rank": function.rank} if function.rank else {}
    return family.geometry(function.name, case.x, case.w, **rank, **{**family.options, **case.options})


def dtype_of(array: Input | Output, geometry: Any, dtype: np.dtype) -> np.dtype:
    """The array's dtype in a call on arrays of `dtype`."""
    return dtype if array.dtype is None else array.dtype(geometry, dtype)


def outputs_of(operation: Operation, geometry: Any) -> tuple[Output, ...]:
    """What the operation returns in this geometry."""
    return tuple(output for output in operation.outputs if output.present(geometry))


def as_tuple(result: Any) -> tuple[Any, ...]:
    """What a path's function returned, as a tuple of its outputs."""
    return result if isinstance(result, tuple) else (result,)


def room_module(room: str, name: str) -> Any:
    """A module of a room, such as "cuda", "explain" or "peers", which is loaded at first use."""
    return import_module(f".{room}.{name}", __package__)


PLAIN, JIT, CUDA = "cpu", "jit", "cuda"
"""The paths: the one that judges the others, its compiled twin for NumPy arrays, and the one of CuPy arrays."""


def numpy_path() -> str:
    """The path that NumPy arrays run on."""
    return JIT if get_jit() else PLAIN


def room_path(room: str, path: str) -> Any:
    """A path of a room; a room without compiled loops has its plain page in their place."""
    if path == JIT and find_spec(f".{room}.{path}", __package__) is None:
        path = PLAIN
    return room_module(room, path)


def implementation(operation: Operation, path: str) -> Compute:
    """The operation's function on this path."""
    found: Compute = getattr(room_path(operation.family.room, path), operation.name)
    return found
