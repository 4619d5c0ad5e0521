"""RawModule of the emulator: a kernel text compiled for the host, and its launches."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import device, memory
from .array import ndarray
from .build import kernel_library, source_of, static_shared_bytes
from .process import Server, explain

_SHARED_BYTES_WITHOUT_OPTIN = 48 << 10
_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_BLOCK_LIMITS = (1024, 1024, 64)
_BLOCK_THREADS = 1024

_server = Server()


class EmulatorFault(RuntimeError):
    """A kernel did what it must not: the message names kernel, block, thread, the fault and the source line."""


class CUDADriverError(RuntimeError):
    """Stands for cupy.cuda.driver.CUDADriverError."""

    __module__ = "cupy_backends.cuda.api.driver"

    def __init__(self, details: str):
        super().__init__(f"CUDA_ERROR_INVALID_VALUE: invalid argument ({details})")


@dataclass(frozen=True)
class Launch:
    """What was launched, where: see `record_launches`."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int
    device: int
    stream: int


_recorders: list[list[Launch]] = []


@contextmanager
def record_launches() -> Iterator[list[Launch]]:
    """Collects the launches made inside the with block."""
    launches: list[Launch] = []
    _recorders.append(launches)
    try:
        yield launches
    finally:
        _recorders.pop()


class Kernel:
    """One entry point of a module: kernel(grid, block, args, shared_mem=0)."""

    def __init__(self, text: str, name: str, options: tuple[str, ...]):
        self.name = name
        self._library = kernel_library(text, name, options)
        self.shared_size_bytes = static_shared_bytes(self._library)
        self._dynamic_shared_bytes = _SHARED_BYTES_WITHOUT_OPTIN - self.shared_size_bytes
        self._launches = 0

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._dynamic_shared_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if size + self.shared_size_bytes > device.shared_bytes_optin():
            raise CUDADriverError(f"{self.name}: {size} + {self.shared_size_bytes} bytes of shared memory")
        self._dynamic_shared_bytes = size

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Iterable[Any], *, shared_mem: int = 0
    ) -> None:
        grid, block = (tuple(map(int, (*extents, 1, 1)[:3])) for extents in (grid, block))
        self._check(grid, block, shared_mem)
        launch = Launch(self.name, grid, block, shared_mem, device.current_device(), device.get_current_stream().ptr)
        parameters = [_sized(_argument_bytes(argument)) for argument in args]
        if device.is_capturing():
            # a graph keeps the memory of its own pool, but not what the kernel finds elsewhere
            own = set(memory.live(launch.device)) - set(memory.live_in_default_pool(launch.device))
            device.queue(lambda: self._run(launch, parameters, [*memory.live_in_default_pool(launch.device), *own]))
        else:
            self._run(launch, parameters, memory.live(launch.device))

    def _run(self, launch: Launch, parameters: list[bytes], live: list[tuple[int, int]]) -> None:
        for recorder in _recorders:
            recorder.append(launch)
        report = _server.run(self._request(launch, parameters, live))
        if report is not None:
            raise EmulatorFault(explain(report, source_of(self._library)))

    def _check(self, grid: tuple[int, ...], block: tuple[int, ...], shared_mem: int) -> None:
        """Refuses what the driver refuses."""
        for what, extents, limits in (("grid", grid, _GRID_LIMITS), ("block", block, _BLOCK_LIMITS)):
            if not all(1 <= extent <= limit for extent, limit in zip(extents, limits, strict=True)):
                raise CUDADriverError(f"{self.name}: {what} {extents}")
        if math.prod(block) > _BLOCK_THREADS:
            raise CUDADriverError(f"{self.name}: block {block}")
        if shared_mem > self._dynamic_shared_bytes:
            most = f"max_dynamic_shared_size_bytes is {self._dynamic_shared_bytes}"
            raise CUDADriverError(f"{self.name}: {shared_mem} bytes of shared memory; {most}")

    def _request(self, launch: Launch, parameters: list[bytes], live: list[tuple[int, int]]) -> bytes:
        """A launch as server.cpp reads it; every launch has a thread order of its own."""
        self._launches += 1
        seed = int(os.environ.get("EMULATOR_SEED", "0")) + self._launches
        return b"".join(
            [
                _sized(os.fsencode(self._library)),
                _sized(self.name.encode()),
                struct.pack("<8I", *launch.grid, *launch.block, launch.shared_bytes, seed),
                struct.pack("<Q", len(parameters)),
                *parameters,
                _sized(b"".join(struct.pack("<QQ", *allocation) for allocation in live), 16),
            ]
        )


def _sized(data: bytes, item: int = 1) -> bytes:
    return struct.pack("<Q", len(data) // item) + data


def _argument_bytes(argument: Any) -> bytes:
    """An argument as CuPy passes it: an array as its pointer, a NumPy scalar or array of size 1 by value."""
    if isinstance(argument, ndarray):
        return np.uint64(argument.data.ptr).tobytes()
    if isinstance(argument, np.generic | np.ndarray):
        if argument.size != 1:
            raise TypeError(f"kernel argument: a NumPy array of size {argument.size}; only size 1 is passed by value")
        return argument.tobytes()
    for kind, passed_as in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if isinstance(argument, kind):
            return passed_as(argument).tobytes()
    raise TypeError(f"kernel argument: Unsupported type {type(argument)}")


class RawModule:
    """Stands for cupy.RawModule."""

    __module__ = "cupy"

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc"):
        self.code, self.options = code, options

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.code, name, self.options)


class RawKernel(Kernel):
    """Stands for cupy.RawKernel."""

    __module__ = "cupy"

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc"):
        super().__init__(code, name, options)
