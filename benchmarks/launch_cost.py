"""What the host does from a call to its kernels' launch, measured without a GPU.

The arrays have shapes and addresses but no memory, and a launch does nothing, so what is left is our own Python code,
from the public function with its checks to the launch. CuPy's allocations (one for each output and workspace) and its
launch come on top. `python -m backstride.benchmarks.launch_cost` prints it for every operation.
"""

from __future__ import annotations

import itertools
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .. import kernels
from ..backend import use_backend
from ..conformance.calls import call, public_call
from ..kernels.cuda.offline import dryrun
from ..kernels.operation import Case, Input, dtype_of


class _Device(dryrun.Device):
    """Compared and hashed as fast as CuPy's, which are no Python code."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


_H100 = _Device(90, 132)
_addresses = itertools.count(1 << 40, 1 << 20)
_launched = SimpleNamespace(kernels=0)


class _Kernel:
    max_dynamic_shared_size_bytes = shared_size_bytes = 0

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        _launched.kernels += 1


class _Memory:
    __slots__ = ("ptr",)

    def __init__(self, address: int) -> None:
        self.ptr = address


class _Array(dryrun.DryArray):
    """With an address of its own, which views of it share."""

    device, flags = _H100, SimpleNamespace(c_contiguous=True)

    def __init__(self, shape: Any, dtype: Any, address: int) -> None:
        self.shape = shape if type(shape) is tuple else (shape,)
        self.dtype = np.dtype(dtype)
        self.data = _Memory(address)

    def reshape(self, *shape: Any) -> _Array:
        return _Array(super().reshape(*shape).shape, self.dtype, self.data.ptr)


class FreeCupy(dryrun.DryCupy):
    """The part of CuPy that the launchers use, all of it for free."""

    ndarray = _Array

    def empty(self, shape: Any, dtype: Any) -> dryrun.DryArray:
        return _Array(shape, dtype, next(_addresses))

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:
        return SimpleNamespace(get_function=lambda entry: _Kernel())


@contextmanager
def installed() -> Iterator[FreeCupy]:
    """A free CuPy in the place of any other, and the NumPy backend in force, so that none is probed."""
    free = FreeCupy(_H100)
    module = ModuleType("cupy")
    for name in ("ndarray", "empty", "zeros", "ascontiguousarray", "RawModule", "cuda"):
        setattr(module, name, getattr(free, name))
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cupy"}
    sys.modules["cupy"] = module
    try:
        with use_backend("numpy"):
            yield free
    finally:
        del sys.modules["cupy"]
        sys.modules.update(others)


_SMALL = {
    "conv": Case("", (32, 16, 14, 14), (32, 16, 3, 3), {"padding": 1}),
    "conv_transpose": Case("", (32, 32, 14, 14), (32, 16, 3, 3), {"padding": 1}),
    "max_pool": Case("", (32, 16, 14, 14), options={"kernel_size": 2}),
    "avg_pool": Case("", (32, 16, 14, 14), options={"kernel_size": 2}),
    "linear": Case("", (32, 64), (10, 64)),
}
"""A small network's shapes, by family; another family has the first of its cases."""

_MORE = {
    "conv2d, depthwise": Case("", (32, 16, 14, 14), (16, 1, 3, 3), {"padding": 1, "groups": 16}),
    "conv2d_grads, tiny": Case("", (32, 1, 8, 8), (8, 1, 3, 3), {"padding": 1}),
}


def calls(cupy: FreeCupy) -> dict[str, Callable[[], Any]]:
    """Every operation on a small shape."""
    small = {name: _SMALL.get(each.family.name, each.family.cases[0]) for name, (each, _) in kernels.FUNCTIONS.items()}
    return {name: _call(name.split(",")[0], case, cupy) for name, case in (small | _MORE).items()}


def _call(name: str, case: Case, cupy: FreeCupy) -> Callable[[], Any]:
    def make(each: Input, geometry: Any) -> Any:
        return cupy.empty(each.shape(geometry), dtype_of(each, geometry, np.dtype("float32")))

    operation = kernels.FUNCTIONS[name].operation
    return public_call(operation, case, call(operation, case, make))


def measure(call: Callable[[], Any], repeats: int = 9, number: int = 300) -> tuple[float, int]:
    """Processor seconds of one call (the least of the repeats) and its launches, after a first that prepares all."""
    call()
    before = _launched.kernels
    call()
    launches = _launched.kernels - before
    return min(timeit.repeat(call, number=number, repeat=repeats, timer=time.process_time)) / number, launches


def main() -> None:
    with installed() as cupy:
        print(f"{'operation':22} {'us/call':>8} {'kernels':>8} {'us/kernel':>10}")
        for name, call in calls(cupy).items():
            seconds, launches = measure(call)
            print(f"{name:22} {seconds * 1e6:8.1f} {launches:8} {seconds * 1e6 / launches:10.1f}")


if __name__ == "__main__":
    main()
