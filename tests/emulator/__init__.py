"""A stand-in for CuPy that runs CUDA kernels on the CPU, under the sanitizers: `with emulator.installed(): ...`.

RawModule compiles the same .cu text with the host's g++ (12 or newer). EMULATOR_SM chooses the compute capability,
EMULATOR_SEED the order of threads and blocks, EMULATOR_TIMEOUT the seconds a launch may take and EMULATOR_CACHE the
folder of compiled kernels.

module.py launches what build.py compiled, with runtime.h as its CUDA dialect and twins.h in place of inline PTX.
server.cpp, in a process of its own (process.py), runs the launches. array.py, memory.py and device.py are CuPy's
arrays, memory and devices, with streams that capture graphs: what a capturing stream is given is recorded and not run.

It cannot show what the GPU does otherwise: timing, occupancy, bank conflicts, launch bounds, two launches at a time,
C++ operators on float32 flushing subnormals and being contracted to fma.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from . import array, build, device, memory, module
from .module import EmulatorFault, Launch, record_launches

__all__ = ["EmulatorFault", "Launch", "allocations", "installed", "record_launches", "synchronisations"]


def synchronisations() -> int:
    """How often the host has waited for a device so far."""
    return device.synchronisations


def allocations() -> int:
    """How often device memory has been asked for so far."""
    return memory.allocations


def _module(name: str, contents: dict[str, Any]) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(contents)
    return made


def _modules() -> dict[str, ModuleType]:
    """The modules of the stand-in, by name."""
    names = ("Device", "Stream", "ExternalStream", "Event", "Graph", "get_current_stream", "get_elapsed_time")
    parts = {
        "compiler": {"CompileException": build.CompileException},
        "device": {"Device": device.Device},
        "driver": {"CUDADriverError": module.CUDADriverError},
        "memory": {"OutOfMemoryError": memory.OutOfMemoryError},
        "runtime": vars(device.runtime),
        "stream": {"Stream": device.Stream, "get_current_stream": device.get_current_stream},
    }
    submodules = {name: _module(f"cupy.cuda.{name}", contents) for name, contents in parts.items()}
    cuda = _module(
        "cupy.cuda",
        {name: getattr(device, name) for name in names}
        | {name: getattr(memory, name) for name in ("MemoryPool", "using_allocator")}
        | submodules
        | {"is_available": lambda: True},
    )
    root = _module(
        "cupy",
        array.namespace()
        | {
            "__version__": "14.2.0",
            "RawModule": module.RawModule,
            "RawKernel": module.RawKernel,
            "cuda": cuda,
            "get_default_memory_pool": lambda: memory.default_pool,
        },
    )
    made = {"cupy": root, "cupy.cuda": cuda}
    made |= {f"cupy.cuda.{name}": submodule for name, submodule in submodules.items()}
    for name, each in made.items():
        each.__path__ = []
        assert each.__name__ == name
    return made


@contextmanager
def installed() -> Iterator[ModuleType]:
    """Puts the stand-in in CuPy's place in sys.modules for the with block; yields it."""

    def take_away() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cupy"}

    real = take_away()
    made = _modules()
    sys.modules.update(made)
    try:
        yield made["cupy"]
    finally:
        take_away()
        sys.modules.update(real)
