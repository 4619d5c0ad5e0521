"""From a case to a call: an operation's inputs, made by whoever makes the call, and its geometry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import kernels
from ..kernels import OPERATIONS
from ..kernels.operation import (
    PLAIN,
    Case,
    Family,
    Input,
    Operation,
    as_tuple,
    dtype_of,
    function_on,
    geometry_of,
    implementation,
    outputs_of,
)
from ..kernels.types import Shape

Make = Callable[[Input, Any], Any]
"""Makes an input of a call with this geometry."""


def call(operation: Operation, case: Case, make: Make) -> tuple[Any, ...]:
    """The arguments of a path's function on this case; ValueError where a shape or an option is wrong."""
    geometry = geometry_of(operation, case)
    return (*_made(operation, geometry, make), geometry)


def _made(operation: Operation, geometry: Any, make: Make) -> list[Any]:
    """The operation's inputs, None for those that are not given."""
    return [make(each, geometry) if each.present(geometry) else None for each in operation.inputs]


def bare(dtype: np.dtype) -> Make:
    """Makes arrays that have a shape and a dtype, and no memory of their own."""
    return lambda each, geometry: np.broadcast_to(np.zeros((), dtype_of(each, geometry, dtype)), each.shape(geometry))


def fitting(each: Input, geometry: Any, drawn: np.ndarray) -> np.ndarray:
    """Random numbers as an input takes them: of its dtype, and natural where it holds such."""
    dtype = dtype_of(each, geometry, drawn.dtype)
    if each.below is None:
        return drawn.astype(dtype, copy=False)
    finite = np.nan_to_num(drawn.astype(np.float64), posinf=0, neginf=0)
    return np.abs(finite / 0.003).astype(dtype) % each.below(geometry)  # of halves too, of all kinds


def numbers(operation: Operation, draw: Callable[[Input, Shape], np.ndarray]) -> Make:
    """Makes what `draw` gives for an input and its shape, once for each name; what the forward operation saves, it
    computes of the same."""
    forward, known = members(operation.family)[0], dict[tuple[str, Shape], np.ndarray]()

    def make(each: Input, geometry: Any) -> np.ndarray:
        if not each.saved:
            key = each.name, each.shape(geometry)
            if key not in known:
                known[key] = fitting(each, geometry, draw(each, key[1]))
            return known[key]
        inputs = _made(forward, geometry, make)
        with np.errstate(all="ignore"):
            outputs = as_tuple(implementation(forward, PLAIN)(*inputs, geometry))
        named = {each.name: array for each, array in zip(outputs_of(forward, geometry), outputs, strict=True)}
        return named[each.name]

    return make


def public_function(operation: Operation, case: Case) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(kernels, function_on(operation, case).name)
    return found


def public(operation: Operation, case: Case, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments of the operation's public function, by name, for a path function's arguments on this case."""
    *inputs, geometry = arguments
    known = dict(zip((each.name for each in operation.inputs), inputs, strict=True))
    known = case.options | known  # an option may say whether there is an input of its name
    found = {}
    for name in inspect.signature(public_function(operation, case)).parameters:
        if name in ("x_shape", "w_shape"):
            found[name] = getattr(geometry, name)
        elif name in known:
            found[name] = known[name]
    return found


def public_call(
    operation: Operation, case: Case, arguments: tuple[Any, ...], function: Callable[..., Any] | None = None
) -> Callable[[], Any]:
    """A call without arguments of the public function, or of another with its signature: only options by name."""
    ours = public_function(operation, case)
    options = public(operation, case, arguments)
    parameters = inspect.signature(ours).parameters.values()
    positional = [options.pop(each.name) for each in parameters if each.kind is not each.KEYWORD_ONLY]
    return partial(function or ours, *positional, **options)


def members(family: Family) -> tuple[Operation, ...]:
    """The family's operations, the forward operation first."""
    return tuple(operation for operation in OPERATIONS.values() if operation.family is family)
