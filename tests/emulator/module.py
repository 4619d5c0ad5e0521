"""RawModule of the emulator: compiles a .cu text with the host's g++ and runs it in a process of its own."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import select
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import device, memory
from .array import ndarray

_HERE = Path(__file__).parent
# Every access calls server.cpp, which also watches for races.
_ACCESSES_AS_CALLS = ("--param", "asan-instrumentation-with-call-threshold=0")
_SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize=vptr",
    "-fno-sanitize-recover=undefined",
    *_ACCESSES_AS_CALLS,
)
# -march=native: fma and half conversions as instructions; no contraction: only what the text calls fma is one.
_FLAGS = ("-std=c++17", "-g1", "-march=native", "-ffp-contract=off")
_STATIC_SHARED_BYTES = 48 << 10


class CompileException(Exception):
    """Stands for cupy.cuda.compiler.CompileException."""

    __module__ = "cupy.cuda.compiler"


class EmulatorFault(RuntimeError):
    """A kernel did what it must not: the message names kernel, block, thread, the fault and the source line."""


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
        _recorders.remove(launches)


def _cache_folder() -> Path:
    default = Path(tempfile.gettempdir()) / f"backstride-emulator-{os.getuid()}"
    folder = Path(os.environ.get("EMULATOR_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build(text: str, suffix: str, options: Iterable[str]) -> Path:
    """g++'s output for a C++ text, kept in the cache folder by a hash of all that goes into it."""
    command = ["g++", *_FLAGS, *options, f"-I{_HERE}"]
    headers = "".join(path.read_text() for path in sorted(_HERE.glob("*.h")))
    key = hashlib.sha256("\0".join([*command, headers, text]).encode()).hexdigest()[:24]
    output = _cache_folder() / f"{key}{suffix}"
    if output.exists():
        return output
    source = output.with_suffix(".cpp")
    source.write_text(text)
    unfinished = output.with_suffix(f".{os.getpid()}")
    result = subprocess.run([*command, source, "-o", unfinished, "-ldl"], capture_output=True, text=True)
    if result.returncode:
        raise CompileException(result.stderr)
    unfinished.replace(output)
    return output


class _Server:
    """The process that runs kernels; a fault ends it and the next launch starts another."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            # Linked with the sanitizers' run time but not itself instrumented.
            options = ("-O2", "-rdynamic", "-Wl,--no-as-needed", "-lasan", "-lubsan")
            server = _build((_HERE / "server.cpp").read_text(), ".server", options)
            self.process = subprocess.Popen(
                [server, *map(str, (memory.descriptor, memory.BASE, memory.TOTAL_BYTES))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[memory.descriptor],
                env={
                    **os.environ,
                    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
                    "UBSAN_OPTIONS": "print_stacktrace=1",
                },
            )
        return self.process

    def stop(self) -> str:
        """Ends the process and returns what it wrote to stderr."""
        process, self.process = self.process, None
        if process is None:
            return ""
        return process.communicate()[1].decode(errors="replace")

    def run(self, request: bytes) -> str | None:
        """Performs one launch; returns the description of its fault, if any."""
        process = self.start()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            return self.stop()
        seconds = float(os.environ.get("EMULATOR_TIMEOUT", "300"))
        if not select.select([process.stdout], [], [], seconds)[0]:
            process.kill()
            self.stop()
            return f"REASON the kernel did not end within {seconds:g} s"
        return None if os.read(process.stdout.fileno(), 1) else self.stop()


_server = _Server()
atexit.register(_server.stop)


def _explain(report: str, source: Path) -> str:
    """What happened where: a server's or sanitizer's report without register and shadow dumps."""
    place = re.search(r"FAULT in (.*)", report)
    reasons = (r"REASON (.*)", r"runtime error: (.*)", r"ERROR: AddressSanitizer: (.*?) \(")
    reason = next(filter(None, (re.search(pattern, report) for pattern in reasons)), None)
    if not reason:
        return report
    text = source.read_text().splitlines()
    frames = re.findall(rf"#\d+ \S+ in (\w+).*? {re.escape(str(source))}:(\d+)", report)
    lines = [f"  {name}, line {n}: {text[int(n) - 1].strip()}" for name, n in frames if name != "emulator_entry"]
    return "\n".join([f"{place[1]}: {reason[1]}" if place else reason[1], *lines])


def _argument_bytes(argument: Any) -> bytes:
    """An argument as CuPy passes it: an array as its pointer, a NumPy scalar or array of size 1 by value."""
    if isinstance(argument, ndarray):
        return np.uint64(argument.data.ptr).tobytes()
    if isinstance(argument, np.generic | np.ndarray):
        if argument.size != 1:
            raise TypeError(f"kernel argument: a NumPy array of size {argument.size}; only size 1 is passed by value")
        return argument.tobytes()
    if isinstance(argument, bool):
        return np.bool_(argument).tobytes()
    if isinstance(argument, int):
        return np.int64(argument).tobytes()
    if isinstance(argument, float):
        return np.float64(argument).tobytes()
    raise TypeError(f"kernel argument: Unsupported type {type(argument)}")


def _sized(data: bytes, item: int = 1) -> bytes:
    return struct.pack("<Q", len(data) // item) + data


class Kernel:
    """One entry point of a module: kernel(grid, block, arguments, *, shared_mem=0)."""

    def __init__(self, text: str, name: str, options: tuple[str, ...]):
        self.name = name
        self.max_dynamic_shared_size_bytes = _STATIC_SHARED_BYTES
        self._library = compile_kernel(text, name, options)
        self._launches = 0

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Iterable[Any], *, shared_mem: int = 0
    ) -> None:
        grid, block = (tuple(map(int, (*extents, 1, 1)[:3])) for extents in (grid, block))
        self._check(grid, block, shared_mem)
        current = device.current_device()
        launch = Launch(self.name, grid, block, shared_mem, current, device.get_current_stream().ptr)
        for recorder in _recorders:
            recorder.append(launch)
        self._launches += 1
        seed = int(os.environ.get("EMULATOR_SEED", "0")) + self._launches
        parameters = [_sized(_argument_bytes(argument)) for argument in args]
        live = b"".join(struct.pack("<QQ", *allocation) for allocation in memory.live(current))
        request = [
            _sized(os.fsencode(self._library)),
            _sized(self.name.encode()),
            struct.pack("<8I", *grid, *block, shared_mem, seed & 0xFFFFFFFF),
            struct.pack("<Q", len(parameters)),
            *parameters,
            _sized(live, 16),
        ]
        report = _server.run(b"".join(request))
        if report is not None:
            raise EmulatorFault(_explain(report, self._library.with_suffix(".cpp")))

    def _check(self, grid: tuple[int, ...], block: tuple[int, ...], shared_mem: int) -> None:
        """Refuses what the driver refuses with CUDA_ERROR_INVALID_VALUE."""
        limits = ((2**31 - 1, 65535, 65535), (1024, 1024, 64))
        for what, extents, limit in zip(("grid", "block"), (grid, block), limits, strict=True):
            if not all(1 <= extent <= most for extent, most in zip(extents, limit, strict=True)):
                raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: invalid argument ({self.name}: {what} {extents})")
        if np.prod(block) > 1024:
            raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: invalid argument ({self.name}: block {block})")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDADriverError(
                f"CUDA_ERROR_INVALID_VALUE: invalid argument ({self.name}: {shared_mem} bytes of shared memory; "
                f"max_dynamic_shared_size_bytes is {self.max_dynamic_shared_size_bytes})"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "max_dynamic_shared_size_bytes" and value > device.shared_bytes_optin():
            raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: invalid argument ({value} bytes of shared memory)")
        super().__setattr__(name, value)


class CUDADriverError(RuntimeError):
    """Stands for cupy.cuda.driver.CUDADriverError."""

    __module__ = "cupy_backends.cuda.api.driver"


_ALIGNMENT = r"(?:(?:__align__|alignas)\s*\(.+?\)\s*)?"
_EXTERN_SHARED = re.compile(rf"extern\s+{_ALIGNMENT}__shared__\s+{_ALIGNMENT}([\w:<> ]+?)\s+(\w+)\[\];")


def compile_kernel(text: str, name: str, options: Iterable[str]) -> Path:
    """The shared library of one entry point of a CUDA text."""
    text = _EXTERN_SHARED.sub(r"static \1* const \2 = (\1*)emulator_dynamic_shared;", text)
    text = f"{text}\nEMULATOR_ENTRY_POINT({name})\n"
    defines = [option for option in options if option.startswith("-D")]
    # Hidden and not unique: several modules with functions of the same names live in one process.
    linkage = ("-shared", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique")
    flags = ("-O1", *linkage, f"-D__CUDA_ARCH__={device.capability()}0", *_SANITIZERS)
    return _build(text, ".so", (*flags, *defines, "-include", "twins.h"))


class RawModule:
    """Stands for cupy.RawModule."""

    __module__ = "cupy"

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc"):
        self.code, self.options = code, options

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.code, name, self.options)


def RawKernel(code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> Kernel:
    """Stands for cupy.RawKernel."""
    return RawModule(code=code, options=options).get_function(name)
