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
from ..kernels.cuda.offline import dryrun


class _Device(dryrun.Device):
    """Compared and hashed as fast as CuPy's, which are no Python code."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


_H100 = _Device(90, 132)
_addresses = itertools.count(1 << 40, 1 << 20)
_launched = SimpleNamespace(kernels=0)


class _Kernel:
    max_dynamic_shared_size_bytes = 0

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        _launched.kernels += 1


class _Memory:
    __slots__ = ("ptr",)

    def __init__(self, address: int) -> None:
        self.ptr = address


class _Array(dryrun.Array):
    """With an address of its own, which views of it share."""

    device = _H100

    def __init__(self, shape: Any, dtype: Any, address: int) -> None:
        self.shape = shape if type(shape) is tuple else (shape,)
        self.dtype = np.dtype(dtype)
        self.data = _Memory(address)

    def reshape(self, *shape: Any) -> _Array:
        return _Array(super().reshape(*shape).shape, self.dtype, self.data.ptr)


class FreeCupy(dryrun.DryCupy):
    """The part of CuPy that the launchers use, all of it for free."""

    ndarray = _Array

    def empty(self, shape: Any, dtype: Any) -> dryrun.Array:
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


def calls(cupy: FreeCupy) -> dict[str, Callable[[], Any]]:
    """Every operation on a small network's shapes."""

    def array(*shape: int) -> Any:
        return cupy.empty(shape, "float32")

    x, w, b, y = array(32, 16, 14, 14), array(32, 16, 3, 3), array(32, 1, 1), array(32, 32, 14, 14)
    tiny_x, tiny_w, tiny_y = array(32, 1, 8, 8), array(8, 1, 3, 3), array(32, 8, 8, 8)
    depthwise = array(16, 1, 3, 3)
    rows, weight, bias, out = array(32, 64), array(10, 64), array(10), array(32, 10)
    pooled, taps = array(32, 16, 7, 7), cupy.empty((32, 16, 7, 7), "uint8")
    return {
        "conv2d": lambda: kernels.conv2d(x, w, b, padding=1),
        "conv2d_input_grad": lambda: kernels.conv2d_input_grad(y, w, x.shape, padding=1),
        "conv2d_weight_grad": lambda: kernels.conv2d_weight_grad(y, x, w.shape, padding=1),
        "conv2d_bias_grad": lambda: kernels.conv2d_bias_grad(y),
        "conv2d_parameter_grads": lambda: kernels.conv2d_parameter_grads(y, x, w.shape, padding=1),
        "conv_transpose2d": lambda: kernels.conv_transpose2d(y, w, padding=1),
        "conv2d, depthwise": lambda: kernels.conv2d(x, depthwise, padding=1, groups=16),
        "conv2d_grads, tiny": lambda: kernels.conv2d_grads(tiny_y, tiny_x, tiny_w, padding=1),
        "linear": lambda: kernels.linear(rows, weight, bias),
        "linear_input_grad": lambda: kernels.linear_input_grad(out, weight),
        "linear_weight_grad": lambda: kernels.linear_weight_grad(out, rows),
        "linear_bias_grad": lambda: kernels.linear_bias_grad(out),
        "linear_parameter_grads": lambda: kernels.linear_parameter_grads(out, rows),
        "linear_grads, tiny": lambda: kernels.linear_grads(out, rows, weight),
        "max_pool2d": lambda: kernels.max_pool2d(x, 2),
        "max_pool2d_grad": lambda: kernels.max_pool2d_grad(pooled, taps, x.shape, 2),
        "avg_pool2d": lambda: kernels.avg_pool2d(x, 2),
        "avg_pool2d_grad": lambda: kernels.avg_pool2d_grad(pooled, x.shape, 2),
    }


def measure(call: Callable[[], Any], repeats: int = 9, number: int = 300) -> tuple[float, int]:
    """Processor seconds of one call (the least of the repeats) and its launches, after a first that prepares all."""
    call()
    before = _launched.kernels
    call()
    launches = _launched.kernels - before
    return min(timeit.repeat(call, number=number, repeat=repeats, timer=time.process_time)) / number, launches


def main() -> None:
    with installed() as cupy:
        print(f"{'operation':20} {'us/call':>8} {'kernels':>8} {'us/kernel':>10}")
        for name, call in calls(cupy).items():
            seconds, launches = measure(call)
            print(f"{name:20} {seconds * 1e6:8.1f} {launches:8} {seconds * 1e6 / launches:10.1f}")


if __name__ == "__main__":
    main()
