"""Compiling CUDA text by NVRTC, which needs no GPU."""

from __future__ import annotations

import struct
from functools import cache

from ....backend import import_cupy

OPTIONS = ("-std=c++17",)
"""What this package asks of the compiler, wherever a kernel is compiled."""

_WGMMA = "#define MULTIPLY Wgmma"

# CuPy adds these to every program it compiles.
_CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


class CompilationError(RuntimeError):
    """A kernel does not compile; the message is the compiler's log."""


def options(text: str) -> tuple[str, ...]:
    """What CuPy is asked to compile a CUDA text with: wgmma needs the architecture's own instructions. (Of this and the
    architecture that CuPy adds NVRTC takes the one with more.)"""
    return (*OPTIONS, "-arch=sm_90a") if _WGMMA in text else OPTIONS


def architecture(text: str, sm: int) -> str:
    """What a CUDA text is compiled for on compute capability sm / 10."""
    return f"sm_{sm}a" if _WGMMA in text else f"sm_{sm}"


@cache
def architectures() -> tuple[int, ...]:
    """The compute capabilities that this NVRTC compiles for; none where there is no NVRTC."""
    try:
        return tuple(import_cupy().cuda.nvrtc.getSupportedArchs())
    except Exception:  # CuPy raises various kinds where libnvrtc is missing
        return ()


@cache
def unavailable(sm: int) -> str | None:
    """Why kernels cannot be compiled here for sm / 10, or None where they can."""
    try:
        nvrtc = import_cupy().cuda.nvrtc
        version, known = nvrtc.getVersion(), nvrtc.getSupportedArchs()
    except Exception as error:  # CuPy raises various kinds where libnvrtc is missing
        return f"compiling needs CuPy and NVRTC: {type(error).__name__}: {error}"
    return None if sm in known else f"NVRTC {'.'.join(map(str, version))} does not know sm_{sm}"


def compiled(text: str, sm: int, *further: str) -> tuple[bytes, str]:
    """The cubin of CUDA text for compute capability sm / 10, compiled as CuPy would, and the compiler's log.

    Several threads may compile at a time. CompilationError where the text does not compile.
    """
    nvrtc = import_cupy().cuda.nvrtc
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, *_CUPY_OPTIONS, f"-arch={architecture(text, sm)}", *further))
        return _whole(nvrtc.getCUBIN(program)), nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise CompilationError(f"sm_{sm}: {error}\n{nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


def _whole(cubin: bytes) -> bytes:
    """A cubin with the last byte that CuPy 14 takes for a string's end and drops; one that has it stays as it is.

    The program headers come last, so that byte is the highest of a 64-bit alignment: zero. An ELF file may hold data
    behind its headers too, and then nothing tells whether its last byte is there.
    """
    missing = max(0, elf_bytes(cubin) - len(cubin))
    if missing > 1:
        raise CompilationError(f"the compiler's output has {len(cubin)} bytes; its ELF header says {elf_bytes(cubin)}")
    return cubin + bytes(missing)


def elf_bytes(cubin: bytes) -> int:
    """Where the later of a 64-bit ELF file's two tables of headers ends: at least so long is a cubin."""
    tables = struct.unpack_from("<QQ", cubin, 32)  # of program headers, of section headers
    program_size, programs, section_size, sections = struct.unpack_from("<4H", cubin, 54)
    return max(tables[0] + program_size * programs, tables[1] + section_size * sections)
