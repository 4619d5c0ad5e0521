"""g++ for the emulator: kernels as shared libraries, and the program that runs them, kept in a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from . import device

_HERE = Path(__file__).parent
# -march=native: fma and half conversions as instructions; no contraction: only what the text calls fma is one.
_FLAGS = ("-std=c++17", "-g1", "-march=native", "-ffp-contract=off", f"-I{_HERE}")
# Linked with the sanitizers' run time but not itself instrumented.
_SERVER_FLAGS = ("-O2", "-rdynamic", "-Wl,--no-as-needed", "-lasan", "-lubsan", "-ldl")
_KERNEL_FLAGS = (
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize=vptr",
    "-fno-sanitize-recover=undefined",
    # Every access calls server.cpp, which also watches for races.
    *("--param", "asan-instrumentation-with-call-threshold=0"),
    # Hidden and not unique: several modules with functions of the same names live in one process.
    *("-shared", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique"),
)

_ALIGNMENT = r"(?:(?:__align__|alignas)\s*\(.+?\)\s*)?"
_EXTERN_SHARED = re.compile(rf"extern\s+{_ALIGNMENT}__shared__\s+{_ALIGNMENT}([\w:<> ]+?)\s+(\w+)\[\];")


class CompileException(Exception):
    """Stands for cupy.cuda.compiler.CompileException."""

    __module__ = "cupy.cuda.compiler"


def kernel_library(text: str, entry: str, options: tuple[str, ...]) -> Path:
    """The shared library of one entry point of a CUDA text; of the options, only -D ones mean something here."""
    text = f"{_for_host(text)}\nEMULATOR_ENTRY_POINT({entry})\n"
    flags = (*_KERNEL_FLAGS, f"-D__CUDA_ARCH__={device.capability()}0")
    dialect = _build('#include "twins.h"\n', "dialect.h.gch", (*flags, "-x", "c++-header"))
    defines = [option for option in options if option.startswith("-D")]
    return _build(text, "kernel.so", (*flags, *defines, f"-I{dialect.parent}", "-include", "dialect.h"))


def check_syntax(text: str, folders: tuple[Path, ...] = ()) -> None:
    """CompileException where a CUDA text, whose headers may lie in these folders, is not C++."""
    options = ("-D__CUDA_ARCH__=800", "-include", "twins.h", *(f"-I{folder}" for folder in folders))
    command = ["g++", *_FLAGS, *options, "-fsyntax-only", "-w", "-x", "c++", "-"]
    result = subprocess.run(command, input=_for_host(text), capture_output=True, text=True)
    if result.returncode:
        raise CompileException(result.stderr)


def _for_host(text: str) -> str:
    return _EXTERN_SHARED.sub(r"static \1* const \2 = (\1*)emulator_dynamic_shared;", text)


@cache
def static_shared_bytes(library: Path) -> int:
    """What the __shared__ variables of a kernel's library take: functions have no other zero-initialised statics."""
    listing = subprocess.run(["nm", "-S", "--defined-only", library], capture_output=True, text=True, check=True)
    return sum(int(size, 16) for size in re.findall(r"^\w+ (\w+) b _ZZ", listing.stdout, re.MULTILINE))


def source_of(library: Path) -> Path:
    """The text that a library was compiled from."""
    return library.with_name("source.cpp")


def server_program() -> Path:
    """The program that runs kernels."""
    return _build((_HERE / "server.cpp").read_text(), "server", _SERVER_FLAGS)


_whole: set[Path] = set()  # outputs that this process has compared with their digests


def _build(text: str, name: str, options: tuple[str, ...]) -> Path:
    """g++'s output for a C++ text: a file of this name, in a cache folder under a hash of all that goes into it.

    One process builds it while others wait; an output that is not what was built, as after a crash, is built again.
    """
    command = ["g++", *_FLAGS, *options]
    key = hashlib.sha256("\0".join([*command, _headers(), text]).encode()).hexdigest()[:24]
    output = _cache_folder() / key / name
    if output in _whole and output.exists():
        return output
    output.parent.mkdir(exist_ok=True)
    with (output.parent / "digest").open("a+") as digest:
        fcntl.flock(digest, fcntl.LOCK_EX)
        digest.seek(0)
        if digest.read() != _digest(output):
            digest.truncate(0)
            _compile(command, text, output)
            digest.write(_digest(output))
    _whole.add(output)
    return output


def _compile(command: list[str], text: str, output: Path) -> None:
    """In a folder of its own until it is complete: a g++ may outlive the process that waits for it."""
    source = source_of(output)
    source.write_text(text)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        unfinished = Path(folder) / output.name
        result = subprocess.run([*command, "-w", source, "-o", unfinished], capture_output=True, text=True)
        if result.returncode:
            raise CompileException(result.stderr)
        unfinished.replace(output)


def _digest(output: Path) -> str:
    return hashlib.sha256(output.read_bytes()).hexdigest() if output.exists() else "none"


@cache
def _headers() -> str:
    return "".join(path.read_text() for path in sorted(_HERE.glob("*.h")))


def _cache_folder() -> Path:
    default = Path(tempfile.gettempdir()) / f"backstride-emulator-{os.getuid()}"
    folder = Path(os.environ.get("EMULATOR_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
