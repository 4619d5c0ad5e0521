"""Argument checks shared by every operation and both paths: option values, array kinds, dtypes, shapes.

Every message reads `operation: argument is ...; expected ...`. ValueError for shapes, sizes and options,
TypeError for dtypes and array kinds.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import is_cupy, is_masked, plain
from . import dtypes
from .dtypes import is_float

Pair = tuple[int, int]
Sides = tuple[Pair, ...]  # (before, after) for each axis


def fixed(value: Any) -> Any:
    """A checked option as it is kept: an int, None, a text, or tuples of them, which nobody changes later."""
    if is_sequence(value):
        return tuple(map(fixed, value))
    return value if value is None or isinstance(value, str) else operator.index(value)


def value_error(operation: str, argument: str, got: object, expected: str) -> ValueError:
    return ValueError(f"{operation}: {argument} is {got}; expected {expected}")


def type_error(operation: str, argument: str, got: object, expected: str) -> TypeError:
    return TypeError(f"{operation}: {argument} is {got}; expected {expected}")


def integer(operation: str, argument: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`; ValueError otherwise."""
    expected = f"an int >= {minimum}"
    if isinstance(value, (bool, np.bool_)):
        raise value_error(operation, argument, repr(value), expected)
    try:
        number = operator.index(value)
    except TypeError:
        raise value_error(operation, argument, repr(value), expected) from None
    if number < minimum:
        raise value_error(operation, argument, number, expected)
    return number


def is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


_ENTRIES = {1: "a (w,) tuple", 2: "an (h, w) pair", 3: "a (d, h, w) tuple"}
_SIDES = {
    1: "((left, right),)",
    2: "((top, bottom), (left, right))",
    3: "((front, back), (top, bottom), (left, right))",
}
_AXES = {3: "three", 4: "four", 5: "five"}


def per_axis(operation: str, argument: str, value: Any, rank: int, minimum: int) -> tuple[int, ...]:
    """An int, or a sequence of one int for each axis, as one int for each axis; ValueError otherwise."""
    if not is_sequence(value):
        return (integer(operation, argument, value, minimum),) * rank
    if len(value) != rank:
        raise value_error(operation, argument, repr(value), f"an int or {_ENTRIES[rank]}")
    return tuple(integer(operation, f"{argument}[{i}]", each, minimum) for i, each in enumerate(value))


def padding_forms(rank: int) -> str:
    return f"an int, {_ENTRIES[rank]}, {_SIDES[rank]}"


def explicit_padding(operation: str, value: Any, rank: int) -> Sides:
    """Padding given as an int, an int for each axis, or (before, after) for each axis, as the last of these forms."""
    if is_sequence(value) and len(value) == rank and all(is_sequence(side) for side in value):
        return tuple(_before_and_after(operation, f"padding[{i}]", side, rank) for i, side in enumerate(value))
    if isinstance(value, str) or (is_sequence(value) and (len(value) != rank or any(map(is_sequence, value)))):
        forms = f"an int, {_ENTRIES[rank]} or {_SIDES[rank]}"
        raise value_error(operation, "padding", repr(value), forms)
    return tuple((side, side) for side in per_axis(operation, "padding", value, rank, 0))


def _before_and_after(operation: str, argument: str, value: Any, rank: int) -> Pair:
    if len(value) != 2:
        expected = "an int or an (h, w) pair" if rank == 2 else "a (before, after) pair"
        raise value_error(operation, argument, repr(value), expected)
    before, after = (integer(operation, f"{argument}[{i}]", side, 0) for i, side in enumerate(value))
    return before, after


def shape(operation: str, argument: str, shape: Any, axes: tuple[str, ...]) -> tuple[int, ...]:
    """A shape that has exactly these axes, each >= 0."""
    if not is_sequence(shape) or len(shape) != len(axes):
        raise value_error(operation, argument, repr(shape), f"{_AXES[len(axes)]} axes ({', '.join(axes)})")
    return tuple(integer(operation, f"{argument}[{i}]", extent, 0) for i, extent in enumerate(shape))


def shape2(operation: str, argument: str, shape: Any, axes: str) -> Pair:
    """A shape of exactly two axes; `axes` names them in the message."""
    if len(shape) != 2:
        raise value_error(operation, argument, tuple(shape), f"two axes {axes}")
    return shape[0], shape[1]


def has_shape(operation: str, argument: str, array: Any, expected: tuple[int, ...], axes: str) -> None:
    if array.shape != expected:
        raise value_error(operation, f"{argument}.shape", array.shape, f"{expected}, that is {axes}")


def bias(operation: str, b: Any, channels: int, column: tuple[int, ...]) -> None:
    """The bias is None, or has shape (channels,) or `column`, the form that broadcasts to an output."""
    if b is not None and b.shape not in ((channels,), column):
        raise value_error(operation, "b.shape", b.shape, f"({channels},) or {column}")


def activation(operation: str, value: Any) -> str | None:
    """What an operation ends with, None or 'relu'; ValueError for anything else."""
    if value is None or (isinstance(value, str) and value == "relu"):
        return value
    raise value_error(operation, "activation", repr(value), "None or 'relu'")


def arrays(operation: str, **named: Any) -> list[Any]:
    """The arrays, none of a subclass: of one library, on one device, of one float dtype. The bias, b, may be None."""
    no_bias = "b" in named and named["b"] is None
    given = {name: array for name, array in named.items() if name != "b"} if no_bias else named
    found = _one_library(operation, given)
    kinds = [array.dtype for array in found]
    if not is_float(kinds[0]) or kinds.count(kinds[0]) != len(kinds):
        raise _dtype_error(operation, given)
    return [*found, None] if no_bias else found


def _dtype_error(operation: str, given: dict[str, Any]) -> TypeError:
    """What is wrong with the dtypes of these arrays."""
    for name, array in given.items():
        if not is_float(array.dtype):
            return type_error(operation, f"{name}.dtype", array.dtype, " or ".join(dtypes.NAMES))
    (first, reference), *rest = given.items()
    name, array = next((name, array) for name, array in rest if array.dtype != reference.dtype)
    expected = f"{reference.dtype} as {first}: the arrays of a call share one dtype"
    return type_error(operation, f"{name}.dtype", array.dtype, expected)


def one_library(operation: str, **named: Any) -> list[Any]:
    """The arrays, none of a subclass: all NumPy's, or all CuPy's on one device."""
    return _one_library(operation, named)


def _one_library(operation: str, named: dict[str, Any]) -> list[Any]:
    (first, reference), *rest = named.items()
    kind = _kind(operation, first, reference)
    for name, array in rest:
        if type(array) is not type(reference) and (found := _kind(operation, name, array)) != kind:
            expected = f"a {kind} array as {first}: move one of them with backstride.asarray"
            raise type_error(operation, name, f"a {found} array", expected)
        if kind == "cupy" and array.device != reference.device:
            expected = f"on device {reference.device.id} as {first} {reference.shape}: copy one of them there"
            raise value_error(operation, f"{name} {array.shape}", f"on device {array.device.id}", expected)
    given = named.values()
    return list(given) if kind == "cupy" else list(map(plain, given))


def _kind(operation: str, name: str, array: object) -> str:
    if isinstance(array, np.ndarray) and not is_masked(array):
        return "numpy"
    if is_cupy(array):
        return "cupy"
    raise type_error(operation, name, f"a {type(array).__qualname__}", "a numpy.ndarray or cupy.ndarray")
