"""Compiling a kernel without a GPU, and what the assembler (ptxas) says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ...backend import import_cupy
from .loader import OPTIONS

# CuPy adds these to every program it compiles.
_CUPY_OPTIONS = ("-ftz=true",)

_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


class CompilationError(RuntimeError):
    """A kernel does not compile; the message is the compiler's log."""


@dataclass(frozen=True)
class Usage:
    """Resources of one compiled kernel: registers per thread, bytes per thread on the stack and spilled, and static
    shared memory per block."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    static_shared_bytes: int


@cache
def unavailable(sm: int) -> str | None:
    """Why kernels cannot be compiled here for sm / 10, or None where they can."""
    try:
        nvrtc = import_cupy().cuda.nvrtc
        version, known = nvrtc.getVersion(), nvrtc.getSupportedArchs()
    except Exception as error:  # CuPy raises various kinds where libnvrtc is missing
        return f"compiling needs CuPy and NVRTC: {type(error).__name__}: {error}"
    return None if sm in known else f"NVRTC {'.'.join(map(str, version))} does not know sm_{sm}"


@cache
def compiled(text: str, sm: int) -> Usage:
    """Compile CUDA text with one entry point for compute capability sm / 10, as the loader would.

    CompilationError where the text does not compile.
    """
    nvrtc = import_cupy().cuda.nvrtc
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        options = (*OPTIONS, *_CUPY_OPTIONS, f"-arch=sm_{sm}", "--ptxas-options=-v")
        nvrtc.compileProgram(program, options)
        return _usage(nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as error:
        raise CompilationError(f"sm_{sm}: {error}\n{nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


def _usage(log: str) -> Usage:
    used, stack, shared = _USED.search(log), _STACK.search(log), _SHARED.search(log)
    if used is None or stack is None:
        raise CompilationError(f"ptxas did not report its resources:\n{log}")
    frame, stores, loads = map(int, stack.groups())
    return Usage(int(used[1]), frame, stores + loads, int(shared[1]) if shared else 0)
