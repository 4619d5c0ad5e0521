"""What can go wrong only on a GPU: mixed libraries and devices, kernels that do not compile, too little memory.

The launchers run over a CuPy without data (kernels/cuda/dryrun.py) in which these things happen.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from backstride import kernels
from backstride.backend import stand_in_for_cupy
from backstride.kernels import __all__ as OPERATIONS
from backstride.kernels import dispatch
from backstride.kernels.cuda.offline import dryrun
from backstride.kernels.cuda.offline.dryrun import Array, Device, DryCupy


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


def array(*shape: int, dtype=np.float32, device: Device = HERE) -> Array:
    return Array(shape, dtype, device)


@pytest.fixture
def on_cupy(monkeypatch):
    """Dry-run arrays count as CuPy's; the library is returned by the function the fixture gives."""
    monkeypatch.setattr(dispatch, "get_backend", lambda: "cupy")

    def use(library: DryCupy):
        monkeypatch.setitem(sys.modules, "cupy", library)
        return stand_in_for_cupy(library)

    return use


X, W, DY, POOLED = array(2, 4, 8, 9), array(6, 4, 3, 3), array(2, 6, 6, 7), array(2, 4, 4, 4)
CALLS = {
    "conv2d": (X, W),
    "conv2d_input_grad": (DY, W, X.shape),
    "conv2d_weight_grad": (DY, X, W.shape),
    "conv2d_bias_grad": (DY,),
    "conv2d_parameter_grads": (DY, X, W.shape),
    "conv2d_grads": (DY, X, W),
    "conv_transpose2d": (DY, W),
    "max_pool2d": (X, 2),
    "max_pool2d_grad": (POOLED, array(2, 4, 4, 4, dtype=np.uint8), X.shape, 2),
    "max_pool2d_indices": (array(2, 4, 4, 4, dtype=np.uint8), X.shape, 2),
    "avg_pool2d": (X, 2),
    "avg_pool2d_grad": (POOLED, X.shape, 2),
    "linear": (array(5, 7), array(3, 7)),
    "linear_input_grad": (array(5, 3), array(3, 7)),
    "linear_weight_grad": (array(5, 3), array(5, 7)),
    "linear_bias_grad": (array(5, 3),),
    "linear_parameter_grads": (array(5, 3), array(5, 7)),
    "linear_grads": (array(5, 3), array(5, 7), array(3, 7)),
}
TWO_ARRAYS = [name for name, arguments in CALLS.items() if sum(isinstance(a, Array) for a in arguments) == 2]


def test_every_operation_is_covered():
    assert set(CALLS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", TWO_ARRAYS)
def test_arrays_of_two_libraries(on_cupy, operation):
    first, second, *rest = CALLS[operation]
    with on_cupy(DryCupy(HERE)), pytest.raises(TypeError) as caught:
        getattr(kernels, operation)(first, np.zeros(second.shape, second.dtype), *rest)
    assert str(caught.value).startswith(f"{operation}: ")
    assert "is a numpy array; expected a cupy array" in str(caught.value)
    assert "backstride.asarray" in str(caught.value)


@pytest.mark.parametrize("operation", TWO_ARRAYS)
def test_arrays_on_two_devices(on_cupy, operation):
    first, second, *rest = CALLS[operation]
    with on_cupy(DryCupy(HERE)), pytest.raises(ValueError, match="expected on device") as caught:
        getattr(kernels, operation)(first, array(*second.shape, dtype=second.dtype, device=THERE), *rest)
    message = str(caught.value)
    assert message.startswith(f"{operation}: ")
    for part in (str(first.shape), str(second.shape), str(HERE), str(THERE), "copy one of them there"):
        assert part in message


@pytest.mark.parametrize("operation", CALLS)
def test_a_kernel_that_does_not_compile(on_cupy, operation):
    library = Failing(HERE, CompileException("kernel.cu(7): error: identifier undefined"))
    with on_cupy(library), pytest.raises(RuntimeError) as caught:
        getattr(kernels, operation)(*CALLS[operation])
    message = str(caught.value)
    assert message.startswith(f"{operation}(")
    assert "did not compile" in message
    assert "kernel.cu(7): error: identifier undefined" in message
    for argument in CALLS[operation]:
        if isinstance(argument, Array):
            assert f"{argument.dtype} {argument.shape}" in message


@pytest.mark.parametrize("operation", CALLS)
def test_too_little_device_memory(on_cupy, operation):
    library = Failing(HERE, OutOfMemoryError("Out of memory allocating 512 bytes"))
    with on_cupy(library), pytest.raises(MemoryError) as caught:
        getattr(kernels, operation)(*CALLS[operation])
    message = str(caught.value)
    assert message.startswith(f"{operation}(")
    assert "Out of memory allocating 512 bytes" in message
    assert "use a smaller batch" in message
    for argument in CALLS[operation]:
        if isinstance(argument, Array):
            assert f"{argument.dtype} {argument.shape}" in message


@pytest.mark.parametrize("operation", CALLS)
def test_without_a_fault_the_call_launches_kernels(on_cupy, operation):
    """Were it not so, the tests above would show nothing about the launchers."""
    library = DryCupy(HERE)
    with on_cupy(library):
        getattr(kernels, operation)(*CALLS[operation])
    assert library.recording.launches
    assert all(isinstance(launch, dryrun.Launch) for launch in library.recording.launches)
