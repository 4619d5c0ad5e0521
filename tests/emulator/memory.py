"""The memory of the emulated devices: one mapping, shared at the same address with the process that runs kernels."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

DEVICES = 2
DEVICE_BYTES = 512 << 20
BASE = 0x2000_0000_0000
TOTAL_BYTES = DEVICES * DEVICE_BYTES

_ALIGNMENT = 512  # CuPy's; also the least gap between two allocations

_MAP_FIXED_NOREPLACE = 0x100000


class OutOfMemoryError(MemoryError):
    """Stands for cupy.cuda.memory.OutOfMemoryError."""

    __module__ = "cupy.cuda.memory"


class _Space:
    """The addresses of one device."""

    def __init__(self, device: int):
        self.end = BASE + device * DEVICE_BYTES + _ALIGNMENT
        self.limit = BASE + (device + 1) * DEVICE_BYTES
        self.live: dict[int, tuple[int, MemoryPool]] = {}

    def take(self, reserved: int) -> int:
        if self.end + reserved > self.limit:
            used = sum(size for size, _ in self.live.values())
            raise OutOfMemoryError(f"Out of memory allocating {reserved:,} bytes (allocated so far: {used:,} bytes).")
        self.end += reserved
        return self.end - reserved


class MemoryPool:
    """Stands for cupy.cuda.MemoryPool. A freed range is reused by its own pool, for the same rounded size only."""

    __module__ = "cupy.cuda"

    def __init__(self) -> None:
        self._free: dict[tuple[int, int], list[int]] = {}

    def malloc(self, size: int) -> np.ndarray:
        """Bytes on the current device, all 0xff (NaN in every float type), freed with the last view of them."""
        device = _current_device()
        space = _spaces[device]
        reserved = -(-size // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
        free = self._free.setdefault((device, reserved), [])
        address = free.pop() if free else space.take(reserved)
        space.live[address] = size, self

        def give_back() -> None:
            del space.live[address]
            free.append(address)

        buffer = (ctypes.c_ubyte * size).from_address(address)
        weakref.finalize(buffer, give_back).atexit = False
        bytes_ = np.frombuffer(buffer, np.uint8)
        bytes_.fill(0xFF)
        return bytes_

    def used_bytes(self) -> int:
        return sum(size for size, pool in _spaces[_current_device()].live.values() if pool is self)

    def free_all_blocks(self, stream: object = None) -> None:
        """Nothing: what is freed stays with its pool."""


def _map() -> int:
    """Maps the memory at BASE and returns its descriptor."""
    descriptor = os.memfd_create("emulated-device-memory")
    os.ftruncate(descriptor, TOTAL_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    flags = mmap.MAP_SHARED | _MAP_FIXED_NOREPLACE
    if libc.mmap(BASE, TOTAL_BYTES, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0) != BASE:
        raise OSError(ctypes.get_errno(), "cannot map the memory of the emulated devices")
    return descriptor


descriptor = _map()
_spaces = [_Space(device) for device in range(DEVICES)]
default_pool = MemoryPool()
_local = threading.local()

allocations = 0
"""How often memory has been asked for, for tests of "no allocation"."""


def _current_device() -> int:
    from .device import current_device

    return current_device()


@contextmanager
def using_allocator(allocator: Callable[[int], np.ndarray]) -> Iterator[None]:
    """Stands for cupy.cuda.using_allocator: inside the with block, this thread's arrays come from there."""
    outer = getattr(_local, "allocator", None)
    _local.allocator = allocator
    try:
        yield
    finally:
        _local.allocator = outer


def allocate(size: int) -> np.ndarray:
    """Bytes of the current device's memory, from this thread's allocator or else the default pool."""
    global allocations
    allocations += 1
    return (getattr(_local, "allocator", None) or default_pool.malloc)(size)


@dataclass(frozen=True)
class Address:
    """An array by where it lies in device memory, which it does not keep from being freed."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, array: np.ndarray) -> Address:
        return cls(array.ctypes.data, array.shape, array.strides, array.dtype)

    def array(self) -> np.ndarray:
        whole = (ctypes.c_ubyte * TOTAL_BYTES).from_address(BASE)
        return np.ndarray(self.shape, self.dtype, whole, self.address - BASE, self.strides)


def device_of(address: int) -> int | None:
    """The device whose memory the address lies in; None for host memory."""
    return (address - BASE) // DEVICE_BYTES if BASE <= address < BASE + TOTAL_BYTES else None


def live(device: int) -> list[tuple[int, int]]:
    """Address and size of every allocation of the device."""
    return [(address, size) for address, (size, _) in _spaces[device].live.items()]


def live_in_default_pool(device: int) -> list[tuple[int, int]]:
    return [(address, size) for address, (size, pool) in _spaces[device].live.items() if pool is default_pool]


def used_bytes(device: int) -> int:
    return sum(size for _, size in live(device))
