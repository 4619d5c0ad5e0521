"""What the assembler (ptxas) says about a kernel's resources, without a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..runtime import nvrtc
from ..runtime.nvrtc import CompilationError, unavailable

__all__ = ["CompilationError", "Usage", "compiled", "unavailable"]

_SERIALISED = "wgmma.mma_async instructions are serialized"
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@dataclass(frozen=True)
class Usage:
    """Resources of one compiled kernel: registers per thread, bytes per thread on the stack and spilled, and static
    shared memory per block. serialised: wgmmas wait for one another where the text does not say so."""

    registers: int
    stack_bytes: int
    spill_bytes: int
    static_shared_bytes: int
    serialised: bool = False


@cache
def compiled(text: str, sm: int) -> Usage:
    """The resources of CUDA text for compute capability sm / 10, of several entry points the most that one takes;
    raises as nvrtc.compiled."""
    _, log = nvrtc.compiled(text, sm, "--ptxas-options=-v")
    return usage(log)


def usage(log: str) -> Usage:
    """What `--ptxas-options=-v` wrote into a log; CompilationError where it did not."""
    registers, shared = ([int(number) for number in each.findall(log)] for each in (_USED, _SHARED))
    stacks = [tuple(map(int, numbers)) for numbers in _STACK.findall(log)]
    if not registers or not stacks:
        raise CompilationError(f"ptxas did not report its resources:\n{log}")
    frame, stores, loads = map(max, zip(*stacks, strict=True))
    return Usage(max(registers), frame, stores + loads, max(shared, default=0), _SERIALISED in log)
