"""What the assembler (ptxas) says about a kernel's resources, without a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..runtime import nvrtc
from ..runtime.nvrtc import CompilationError, unavailable

__all__ = ["CompilationError", "Usage", "compiled", "unavailable"]

_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@dataclass(frozen=True)
class Usage:
    """Resources of one compiled kernel: registers per thread, bytes per thread on the stack and spilled, and static
    shared memory per block."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    static_shared_bytes: int


@cache
def compiled(text: str, sm: int) -> Usage:
    """The resources of CUDA text with one entry point for compute capability sm / 10; raises as nvrtc.compiled."""
    _, log = nvrtc.compiled(text, sm, "--ptxas-options=-v")
    return _usage(log)


def _usage(log: str) -> Usage:
    used, stack, shared = _USED.search(log), _STACK.search(log), _SHARED.search(log)
    if used is None or stack is None:
        raise CompilationError(f"ptxas did not report its resources:\n{log}")
    frame, stores, loads = map(int, stack.groups())
    return Usage(int(used[1]), frame, stores + loads, int(shared[1]) if shared else 0)
