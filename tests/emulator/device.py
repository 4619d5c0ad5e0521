"""cupy.cuda of the emulator: devices, streams, events and the runtime, on which everything is synchronous."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from . import memory

_MULTIPROCESSORS = 4

# Shared memory that a block may opt in to, by compute capability (CUDA C++ Programming Guide, table of limits).
_SHARED_KIB_OPTIN = {70: 96, 75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

_local = threading.local()

synchronisations = 0
"""How often the host has waited for a device, for tests of "no hidden synchronisation"."""


def count_synchronisation() -> None:
    """The host waits for the device: refused, as CUDA does, where the current stream captures."""
    global synchronisations
    if is_capturing():
        get_current_stream().invalidated = True
        raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")
    synchronisations += 1


def refuse_transfer(direction: str) -> None:
    """cupy/cuda/memory.pyx refuses copies from and to the host, of which a graph would keep only the address."""
    if is_capturing():
        raise RuntimeError(f"the current stream is capturing, so {direction} transfers are disallowed")


def is_capturing() -> bool:
    return get_current_stream().is_capturing()


def queue(operation: Callable[[], object]) -> None:
    """Performs the operation, or records it where the current stream captures."""
    recorded = get_current_stream().recorded
    if recorded is None:
        operation()
    else:
        recorded.append(operation)


def capability() -> int:
    """Compute capability of the emulated devices, from EMULATOR_SM (90)."""
    return int(os.environ.get("EMULATOR_SM", "90"))


def shared_bytes_optin() -> int:
    return _SHARED_KIB_OPTIN[capability()] << 10


class CUDARuntimeError(RuntimeError):
    """Stands for cupy.cuda.runtime.CUDARuntimeError."""

    __module__ = "cupy_backends.cuda.api.runtime"


def current_device() -> int:
    return getattr(_local, "device", 0)


def set_device(device: int) -> None:
    if not 0 <= device < memory.DEVICES:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    _local.device = device


class Device:
    """A device; as a context manager, the current one."""

    __module__ = "cupy.cuda"

    def __init__(self, device: int | Device | None = None):
        self.id = current_device() if device is None else int(device)
        self._outer: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        set_device(self.id)

    def __enter__(self) -> Device:
        self._outer.append(current_device())
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        set_device(self._outer.pop())

    def synchronize(self) -> None:
        count_synchronisation()

    @property
    def compute_capability(self) -> str:
        return str(capability())

    @property
    def mem_info(self) -> tuple[int, int]:
        return memory.DEVICE_BYTES - memory.used_bytes(self.id), memory.DEVICE_BYTES

    @property
    def attributes(self) -> dict[str, int]:
        return {
            "ComputeCapabilityMajor": capability() // 10,
            "ComputeCapabilityMinor": capability() % 10,
            "L2CacheSize": 1 << 20,
            "MultiProcessorCount": _MULTIPROCESSORS,
            "MaxSharedMemoryPerBlock": 48 << 10,
            "MaxSharedMemoryPerBlockOptin": shared_bytes_optin(),
            "MaxThreadsPerBlock": 1024,
            "WarpSize": 32,
        }


class Stream:
    """A stream; as a context manager, its device's current one."""

    __module__ = "cupy.cuda"
    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None):
        self.ptr = 0 if null else id(self)
        self.device_id = -1 if null else current_device()
        self._outer: list[Stream] = []
        self.recorded: list[Callable[[], object]] | None = None
        self.invalidated = False

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.recorded, self.invalidated = [], False

    def end_capture(self) -> Graph:
        recorded, self.recorded = self.recorded, None
        if recorded is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        if self.invalidated:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return Graph(recorded)

    def is_capturing(self) -> bool:
        return self.recorded is not None

    def use(self) -> Stream:
        _streams()[current_device()] = self
        return self

    def __enter__(self) -> Stream:
        self._outer.append(get_current_stream())
        return self.use()

    def __exit__(self, *error: object) -> None:
        self._outer.pop().use()

    def synchronize(self) -> None:
        count_synchronisation()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        pass


Stream.null = Stream(null=True)


class ExternalStream(Stream):
    """A stream that another library made."""

    def __init__(self, ptr: int, device_id: int = -1):
        super().__init__()
        self.ptr, self.device_id = ptr, device_id


def _streams() -> dict[int, Stream]:
    return _local.__dict__.setdefault("streams", {})


def get_current_stream(device_id: int | None = None) -> Stream:
    return _streams().get(current_device() if device_id is None else device_id, Stream.null)


class Graph:
    """What a stream captured, to be run again on the same memory."""

    __module__ = "cupy.cuda"

    def __init__(self, operations: list[Callable[[], object]]):
        self._operations = operations

    def launch(self, stream: Stream | None = None) -> None:
        for operation in self._operations:
            queue(operation)


class Event:
    """A point in time."""

    __module__ = "cupy.cuda"

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        self.time = 0.0
        self.recorded_on: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.time, self.recorded_on = time.perf_counter(), stream or get_current_stream()

    def synchronize(self) -> None:
        count_synchronisation()


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events."""
    return 1e3 * (end.time - start.time)


def _properties(device: int) -> dict[str, Any]:
    return {
        "name": b"emulated device",
        "major": capability() // 10,
        "minor": capability() % 10,
        "multiProcessorCount": _MULTIPROCESSORS,
        "sharedMemPerBlock": 48 << 10,
        "sharedMemPerBlockOptin": shared_bytes_optin(),
        "totalGlobalMem": memory.DEVICE_BYTES,
        "warpSize": 32,
    }


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDevice=current_device,
    setDevice=set_device,
    getDeviceCount=lambda: memory.DEVICES,
    getDeviceProperties=_properties,
    memGetInfo=lambda: Device().mem_info,
    deviceSynchronize=count_synchronisation,
    streamSynchronize=lambda stream: count_synchronisation(),
    runtimeGetVersion=lambda: 12090,
    driverGetVersion=lambda: 12090,
    is_hip=False,
)
