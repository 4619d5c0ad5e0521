"""The memory of the emulated devices: one mapping, shared at the same address with the process that runs kernels."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

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


class _Pool:
    """One device's allocations. A freed range is reused for the same rounded size only."""

    def __init__(self, device: int):
        self.end = BASE + device * DEVICE_BYTES + _ALIGNMENT
        self.limit = BASE + (device + 1) * DEVICE_BYTES
        self.live: dict[int, int] = {}
        self.free: dict[int, list[int]] = {}

    def take(self, size: int) -> int:
        reserved = -(-size // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
        if self.free.get(reserved):
            address = self.free[reserved].pop()
        elif self.end + reserved <= self.limit:
            address = self.end
            self.end += reserved
        else:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {sum(self.live.values()):,} bytes)."
            )
        self.live[address] = size
        return address

    def give_back(self, address: int) -> None:
        size = self.live.pop(address)
        self.free.setdefault(-(-size // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT, []).append(address)


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
_pools = [_Pool(device) for device in range(DEVICES)]


def allocate(device: int, size: int) -> np.ndarray:
    """Bytes of device memory, all 0xff (NaN in every float type), freed with the last view of them."""
    address = _pools[device].take(size)
    buffer = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(buffer, _pools[device].give_back, address).atexit = False
    bytes_ = np.frombuffer(buffer, np.uint8)
    bytes_.fill(0xFF)
    return bytes_


def device_of(address: int) -> int | None:
    """The device whose memory the address lies in; None for host memory."""
    return (address - BASE) // DEVICE_BYTES if BASE <= address < BASE + TOTAL_BYTES else None


def live(device: int) -> list[tuple[int, int]]:
    """Address and size of every allocation of the device."""
    return list(_pools[device].live.items())


def used_bytes(device: int) -> int:
    return sum(_pools[device].live.values())
