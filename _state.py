"""Checking what a file or a caller hands over, all of it, before any of it is used."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .backend import is_cupy, to_numpy

Shape = tuple[int, ...]


class Expected(NamedTuple):
    """What an array of a state_dict must be. shapes: any of them. dtype: what it is converted to."""

    shapes: tuple[Shape, ...]
    dtype: np.dtype
    values: str = ""
    accepts: Callable[[np.ndarray], bool] = lambda _: True


def to_fit(shapes: tuple[Shape, ...], dtype: np.dtype) -> Expected:
    """What is to be converted to `dtype`; for an integer dtype only what it holds."""
    if dtype.kind not in "iu":
        return Expected(shapes, dtype)
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max

    def accepts(array: np.ndarray) -> bool:
        return bool(((array == np.floor(array)) & (array >= lowest) & (array < highest + 1)).all())

    return Expected(shapes, dtype, f"whole numbers from {lowest} to {highest}", accepts)


def checked(
    owner: str, expected: Mapping[str, Expected], state: Mapping[str, Any], strict: bool = True
) -> dict[str, np.ndarray]:
    """The expected arrays of `state` as NumPy arrays; ValueError listing every wrong entry, and with strict every
    missing or unexpected one.

    state: NumPy or CuPy arrays or PyTorch tensors.
    """
    problems = []
    if strict:
        problems += [f"{name} is missing" for name in expected if name not in state]
        problems += [f"{name} is unexpected" for name in state if name not in expected]
    arrays = {}
    for name, wanted in expected.items():
        if name in state:
            try:
                arrays[name] = _converted(state[name], wanted)
            except (ValueError, TypeError) as error:
                problems.append(f"{name} {error}")
    if problems:
        raise ValueError(f"{owner}: nothing was loaded, because\n  " + "\n  ".join(problems))
    return arrays


def _converted(value: Any, wanted: Expected) -> np.ndarray:
    try:
        array = _as_numpy(value)
    except Exception as error:  # of whichever library the value is
        raise ValueError(f"cannot be made an array: {error}") from error
    if array.shape not in wanted.shapes:
        raise ValueError(f"has shape {array.shape}; expected {' or '.join(map(str, wanted.shapes))}")
    if not is_real(array.dtype):
        raise ValueError(f"has dtype {array.dtype}; expected real numbers")
    if not wanted.accepts(array):
        raise ValueError(f"is {reprlib.repr(array.tolist())}; expected {wanted.values}")
    return array.astype(wanted.dtype, copy=False)


def _as_numpy(value: Any) -> np.ndarray:
    if is_cupy(value) or isinstance(value, np.ndarray):
        return to_numpy(value)
    if hasattr(value, "detach"):  # a PyTorch tensor; float64 holds all its real numbers, bfloat16's too
        value = value.detach().cpu()
        return (value.double() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def is_real(dtype: np.dtype) -> bool:
    return dtype.kind in "fiu" or dtype.name == "bfloat16"


Check = Callable[[str, Any], Iterator[str]]
"""Of a field's name and its value in a file: what is wrong with it."""


def scalar(expected: str, accepts: Callable[[Any], bool]) -> Check:
    def check(name: str, value: Any) -> Iterator[str]:
        if not accepts(value):
            yield f"{name} is {reprlib.repr(value)}; expected {expected}"

    return check


def record(**fields: Check) -> Check:
    """An object with exactly these fields."""

    def check(name: str, value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{name} is {reprlib.repr(value)}; expected an object with {', '.join(fields)}"
            return
        yield from (f"{name}.{field} is missing" for field in fields if field not in value)
        yield from (f"{name}.{field} is unexpected" for field in value if field not in fields)
        for field, check_field in fields.items():
            if field in value:
                yield from check_field(f"{name}.{field}", value[field])

    return check


def items(check_item: Check) -> Check:
    """A list of any length."""

    def check(name: str, value: Any) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{name} is {reprlib.repr(value)}; expected a list"
            return
        for place, item in enumerate(value):
            yield from check_item(f"{name}[{place}]", item)

    return check


def is_int(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def is_number(value: Any) -> bool:
    """A float, or an int that is as good as one."""
    return isinstance(value, float) or (is_int(value, -(2**53)) and value <= 2**53)
