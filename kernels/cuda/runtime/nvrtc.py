"""Compiling CUDA text by NVRTC, which needs no GPU."""

from __future__ import annotations

from functools import cache

from ....backend import import_cupy

OPTIONS = ("-std=c++17",)
"""What this package asks of the compiler, wherever a kernel is compiled."""

# CuPy adds these to every program it compiles.
_CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


class CompilationError(RuntimeError):
    """A kernel does not compile; the message is the compiler's log."""


@cache
def unavailable(sm: int) -> str | None:
    """Why kernels cannot be compiled here for sm / 10, or None where they can."""
    try:
        nvrtc = import_cupy().cuda.nvrtc
        version, known = nvrtc.getVersion(), nvrtc.getSupportedArchs()
    except Exception as error:  # CuPy raises various kinds where libnvrtc is missing
        return f"compiling needs CuPy and NVRTC: {type(error).__name__}: {error}"
    return None if sm in known else f"NVRTC {'.'.join(map(str, version))} does not know sm_{sm}"


def compiled(text: str, sm: int, *options: str) -> tuple[bytes, str]:
    """The cubin of CUDA text for compute capability sm / 10, compiled as CuPy would, and the compiler's log.

    Several threads may compile at a time. CompilationError where the text does not compile.
    """
    nvrtc = import_cupy().cuda.nvrtc
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, *_CUPY_OPTIONS, f"-arch=sm_{sm}", *options))
        return nvrtc.getCUBIN(program), nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise CompilationError(f"sm_{sm}: {error}\n{nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)
