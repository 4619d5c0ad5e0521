"""The records of operations, the public functions, what is exported and every path say the same."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from backstride import jit, kernels
from backstride.conformance import calls
from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS, OPERATIONS
from backstride.kernels.operation import CUDA, JIT, PLAIN, as_tuple, dtype_of, outputs_of, room_module


def protocol(room: str) -> type:
    """The class of the room's path.py."""
    module = room_module(room, "path")
    (found,) = (each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__)
    return found


PROTOCOLS = {room: protocol(room) for room in dict.fromkeys(each.family.room for each in OPERATIONS.values())}
PATHS = [
    (room, path)
    for room in PROTOCOLS
    for path in (*([] if jit.missing() else [JIT]), CUDA, PLAIN)
    if find_spec(f"backstride.kernels.{room}.{path}")
]


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def functions(namespace) -> dict:
    """The public functions that are defined there."""
    return {
        name: value
        for name, value in vars(namespace).items()
        if inspect.isfunction(value) and value.__module__ == namespace.__name__ and not name.startswith("_")
    }


def listed(room: str) -> dict:
    """The functions of the room's Protocol."""
    return {name: value for name, value in vars(PROTOCOLS[room]).items() if not name.startswith("_")}


def written(room: str) -> dict:
    """The public functions of the room's modules of functions, one for each rank."""
    (folder,) = import_module(f"backstride.kernels.{room}").__path__
    modules = (f"backstride.kernels.{room}.{file.stem}" for file in Path(folder).glob("functions*.py"))
    return {name: value for module in modules for name, value in functions(import_module(module)).items()}


def exported(room: str) -> set[str]:
    return {name for name, function in FUNCTIONS.items() if function.operation.family.room == room}


def records(room: str) -> dict:
    return {name: record for name, record in OPERATIONS.items() if record.family.room == room}


def test_exports_are_the_operations():
    assert set(kernels.__all__) == set(FUNCTIONS)


@pytest.mark.parametrize("room", PROTOCOLS)
def test_a_room_exports_its_operations(room):
    package = import_module(f"backstride.kernels.{room}")
    assert set(package.__all__) == exported(room) == set(written(room))
    for name in package.__all__:
        assert getattr(package, name) is getattr(kernels, name)


@pytest.mark.parametrize("room", PROTOCOLS)
def test_a_protocol_takes_inputs_and_a_geometry(room):
    assert set(listed(room)) == set(records(room))
    for name, record in records(room).items():
        assert parameters(listed(room)[name]) == [*(each.name for each in record.inputs), "geometry"]


@pytest.mark.parametrize(("room", "path"), PATHS)
def test_a_path_has_the_functions_of_its_protocol(room, path):
    module = import_module(f"backstride.kernels.{room}.{path}")
    assert set(functions(module)) <= set(listed(room))
    for name, function in listed(room).items():
        assert parameters(getattr(module, name)) == parameters(function), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_are_what_the_record_says(name):
    """On the smallest case of the family, and through the public function with the record's inputs."""
    operation = FUNCTIONS[name].operation
    case = min(all_cases(FUNCTIONS[name]), key=lambda case: np.prod(case.x) if 0 not in case.x else np.inf)
    arguments = calls.call(operation, case, calls.bare(np.dtype(np.float16)))
    public = getattr(kernels, name)(**calls.public(operation, case, arguments))
    geometry = arguments[-1]
    for output, got in zip(outputs_of(operation, geometry), as_tuple(public), strict=True):
        assert got.shape == output.shape(geometry)
        assert got.dtype == dtype_of(output, geometry, np.dtype(np.float16))


def test_composites_return_what_their_parts_return(rng):
    composites = [function for function in FUNCTIONS.values() if function.operation.parts]
    assert composites
    for function in composites:
        operation, case = function.operation, all_cases(function)[0]
        arguments = calls.call(operation, case, lambda each, g: rng.standard_normal(each.shape(g)))
        public = calls.public(operation, case, arguments)
        named = {each.name: array for each, array in zip(operation.inputs, arguments[:-1], strict=True)}
        expected = []
        for part in operation.parts:
            own = (*(named[each.name] for each in part.inputs), arguments[-1])
            expected += as_tuple(calls.public_function(part, case)(**calls.public(part, case, own)))
        got = getattr(kernels, function.name)(**public)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
