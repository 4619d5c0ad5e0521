"""What can go wrong only on a GPU: mixed libraries and devices, kernels that do not compile, too little memory.

The launchers run over a CuPy without data (kernels/cuda/dryrun.py) in which these things happen.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from small_cases import SMALL

from backstride import kernels
from backstride.backend import stand_in_for_cupy
from backstride.conformance import calls
from backstride.kernels import FUNCTIONS, dispatch
from backstride.kernels.cuda.offline import dryrun
from backstride.kernels.cuda.offline.dryrun import Device, DryArray, DryCupy
from backstride.kernels.operation import dtype_of


class CompileException(Exception):
    """As cupy.cuda.compiler's."""


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory's."""


class Failing(DryCupy):
    """A CuPy whose compiler and allocator raise `fault`."""

    def __init__(self, device: Device, fault: Exception) -> None:
        super().__init__(device)
        self.cuda.compiler.CompileException = CompileException
        self.cuda.memory.OutOfMemoryError = OutOfMemoryError
        self.fault = fault

    def empty(self, shape, dtype):
        if isinstance(self.fault, OutOfMemoryError):
            raise self.fault
        return super().empty(shape, dtype)

    def RawModule(self, **options):
        raise self.fault


HERE, THERE = Device(90, 1), Device(75, 1)


@pytest.fixture
def on_cupy(monkeypatch):
    """Dry-run arrays count as CuPy's; the library is returned by the function the fixture gives."""
    monkeypatch.setattr(dispatch, "get_backend", lambda: "cupy")

    def use(library: DryCupy):
        monkeypatch.setitem(sys.modules, "cupy", library)
        return stand_in_for_cupy(library)

    return use


def arguments_of(name: str) -> dict[str, Any]:
    """Good arguments of the public function, by name."""
    operation, case = SMALL[name]

    def make(each, geometry):
        return DryArray(each.shape(geometry), dtype_of(each, geometry, np.dtype(np.float32)), HERE)

    return calls.public(operation, case, calls.call(operation, case, make))


def arrays_of(arguments: dict[str, Any]) -> dict[str, DryArray]:
    return {name: value for name, value in arguments.items() if isinstance(value, DryArray)}


SEVERAL_ARRAYS = [name for name in FUNCTIONS if len(arrays_of(arguments_of(name))) > 1]


@pytest.mark.parametrize("operation", SEVERAL_ARRAYS)
def test_arrays_of_two_libraries(on_cupy, operation):
    arguments = arguments_of(operation)
    _, name, *_ = arrays = arrays_of(arguments)
    other = np.zeros(arrays[name].shape, arrays[name].dtype)
    with on_cupy(DryCupy(HERE)), pytest.raises(TypeError) as caught:
        getattr(kernels, operation)(**arguments | {name: other})
    assert str(caught.value).startswith(f"{operation}: {name} ")
    assert "is a numpy array; expected a cupy array" in str(caught.value)
    assert "backstride.asarray" in str(caught.value)


@pytest.mark.parametrize("operation", SEVERAL_ARRAYS)
def test_arrays_on_two_devices(on_cupy, operation):
    arguments = arguments_of(operation)
    first, second, *_ = arrays_of(arguments).values()
    other = DryArray(second.shape, second.dtype, THERE)
    changed = {name: other if value is second else value for name, value in arguments.items()}
    with on_cupy(DryCupy(HERE)), pytest.raises(ValueError, match="expected on device") as caught:
        getattr(kernels, operation)(**changed)
    message = str(caught.value)
    assert message.startswith(f"{operation}: ")
    for part in (str(first.shape), str(second.shape), str(HERE), str(THERE), "copy one of them there"):
        assert part in message


@pytest.mark.parametrize("operation", [name for name, function in FUNCTIONS.items() if function.rank < 3])
def test_a_kernel_that_does_not_compile(on_cupy, operation):
    library = Failing(HERE, CompileException("kernel.cu(7): error: identifier undefined"))
    with on_cupy(library), pytest.raises(RuntimeError) as caught:
        getattr(kernels, operation)(**arguments_of(operation))
    message = str(caught.value)
    assert message.startswith(f"{operation}(")
    assert "did not compile" in message
    assert "kernel.cu(7): error: identifier undefined" in message
    for array in arrays_of(arguments_of(operation)).values():
        assert f"{array.dtype} {array.shape}" in message


@pytest.mark.parametrize("operation", FUNCTIONS)
def test_too_little_device_memory(on_cupy, operation):
    library = Failing(HERE, OutOfMemoryError("Out of memory allocating 512 bytes"))
    with on_cupy(library), pytest.raises(MemoryError) as caught:
        getattr(kernels, operation)(**arguments_of(operation))
    message = str(caught.value)
    assert message.startswith(f"{operation}(")
    assert "Out of memory allocating 512 bytes" in message
    assert "use a smaller batch" in message
    for array in arrays_of(arguments_of(operation)).values():
        assert f"{array.dtype} {array.shape}" in message


@pytest.mark.parametrize("operation", FUNCTIONS)
def test_without_a_fault_the_call_launches_kernels(on_cupy, operation):
    """Were it not so, the tests above would show nothing about the launchers."""
    library = DryCupy(HERE)
    with on_cupy(library):
        getattr(kernels, operation)(**arguments_of(operation))
    assert library.recording.launches
    assert all(isinstance(launch, dryrun.Launch) for launch in library.recording.launches)
