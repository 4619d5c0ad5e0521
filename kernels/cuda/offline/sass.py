"""What one step of a product's main loop costs a warp, read from the compiled kernel without a GPU.

Needs nvdisasm (`pip install nvidia-cuda-nvdisasm`; it is in the CUDA Toolkit and in Triton's wheel too).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..runtime import nvrtc
from . import ptxas

VARIABLE = "BACKSTRIDE_NVDISASM"

_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)(.*?);")
_LABEL = re.compile(r"^\s*(\.L_x?_?\w+):")
_TARGET = re.compile(r"\s*(!?U?P\d)?.*?(\.L_x?_?\w+)")
_MULTIPLIES = ("HGMMA", "HMMA", "DMMA", "DFMA", "FFMA")  # a loop's are the first of these that it has
_MEMORY = frozenset(("LDS", "LDSM", "STS", "LDG", "LDGSTS"))


@dataclass(frozen=True)
class Step:
    """Of one warp and one k-tile: issued instructions, and clocks of shared memory without bank conflicts; `idle`, of a
    step that fetches nothing. registers: of a thread."""

    slots: float
    shared_clocks: float
    idle_slots: float
    idle_shared_clocks: float
    registers: int


@dataclass(frozen=True)
class _Instruction:
    predicate: str
    name: str
    target: str  # of a branch

    @property
    def base(self) -> str:
        return self.name.split(".")[0]

    @property
    def shared_clocks(self) -> float:
        """128 bytes each: a warp's words of 4, 8 or 16 bytes, the matrices of ldmatrix, or its share of what wgmma
        reads for its warpgroup."""
        if self.base == "HGMMA":
            m, n, k = map(int, self.name.split(".")[1].split("x"))
            return ((m + n) * k * 2 if k == 16 else n * k * 4) / 128 / 4  # A of 32 bits is in registers
        if self.base == "LDSM":
            return int(self.name[-1]) if self.name[-1] in "24" else 1
        if self.base not in ("LDS", "STS", "LDGSTS"):
            return 0
        return 4 if ".128" in self.name else 2 if ".64" in self.name else 1


@cache
def tool() -> str | None:
    """nvdisasm: what BACKSTRIDE_NVDISASM names, the wheel's, or the one on the PATH."""
    wheels = find_spec("nvidia")
    folders = wheels.submodule_search_locations or () if wheels else ()
    found = (str(file) for folder in folders for file in Path(folder).glob("*/bin/nvdisasm"))
    return os.environ.get(VARIABLE) or next(found, None) or shutil.which("nvdisasm")


def main_loop(text: str, sm: int, multiplies: float) -> Step:
    """A step of the loop of this CUDA text that multiplies most; so many multiplying instructions are one step's.

    Raises as nvrtc.compiled, and ValueError where no loop multiplies.
    """
    cubin, log = nvrtc.compiled(text, sm, "--ptxas-options=-v")
    return step(_disassembled(cubin), multiplies, ptxas.usage(log).registers)


def _disassembled(cubin: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        return subprocess.run([str(tool()), "-c", str(file)], capture_output=True, text=True, check=True).stdout


def _parsed(sass: str) -> tuple[list[_Instruction], dict[str, int]]:
    """The instructions in their order, and what labels stand before."""
    instructions: list[_Instruction] = []
    labels: dict[str, int] = {}
    for line in sass.splitlines():
        label, found = _LABEL.match(line), _INSTRUCTION.match(line)
        if label:
            labels[label[1]] = len(instructions)
        elif found:
            condition, target = _branch(found[3]) if found[2].startswith("BRA") else ("", "")
            instructions.append(_Instruction(found[1] or condition, found[2], target))
    return instructions, labels


def _branch(operands: str) -> tuple[str, str]:
    """A branch's condition, if it is an operand, and its target; ("", "") where that is not in the text."""
    found = _TARGET.match(operands)
    return (found[1] or "", found[2]) if found else ("", "")


def step(disassembled: str, multiplies: float, registers: int) -> Step:
    """The same of what nvdisasm writes."""
    instructions, labels = _parsed(disassembled)
    used = {each.base for each in instructions}
    name = next((name for name in _MULTIPLIES if name in used), "")
    loop = _Loop.of(instructions, labels, name, multiplies)
    busy, idle = loop.path({name, *_MEMORY}), loop.path({name})
    scale = multiplies / busy.multiplies
    busy_cost, idle_cost = ((way.slots * scale, way.shared_clocks * scale) for way in (busy, idle))
    return Step(*busy_cost, *idle_cost, registers)


@dataclass
class _Path:
    """Instructions from some place of a loop to its end: how many of those that are looked for, and what they cost."""

    wanted: float = 0
    slots: float = 0
    shared_clocks: float = 0
    multiplies: float = 0

    def after(self, instruction: _Instruction, wanted: set[str], multiply: str, times: float) -> _Path:
        return _Path(
            self.wanted + times * (instruction.base in wanted),
            self.slots + times,
            self.shared_clocks + times * instruction.shared_clocks,
            self.multiplies + times * (instruction.base == multiply),
        )


@dataclass
class _Loop:
    """The instructions of the main loop, from `first` to the branch back; `inner`: loops within, and how often they
    run."""

    instructions: list[_Instruction]
    labels: dict[str, int]
    multiply: str
    first: int
    last: int
    inner: dict[int, float]

    @classmethod
    def of(cls, instructions: list[_Instruction], labels: dict[str, int], multiply: str, multiplies: float) -> _Loop:
        def count(first: int, last: int) -> int:
            return sum(each.base == multiply for each in instructions[first : last + 1])

        back = [(labels[each.target], i) for i, each in enumerate(instructions) if labels.get(each.target, i + 1) <= i]
        if not back or not max(count(*each) for each in back):
            raise ValueError("no loop multiplies")
        first, last = max(back, key=lambda each: (count(*each), each[1] - each[0]))
        inner: dict[int, float] = {}
        for begin, end in back:
            if first < begin and end < last and count(begin, end):
                outside = count(first, last) - count(begin, end)
                inner |= dict.fromkeys(range(begin, end + 1), max(1.0, (multiplies - outside) / count(begin, end)))
        return cls(instructions, labels, multiply, first, last, inner)

    def path(self, wanted: set[str]) -> _Path:
        """The way through a step that meets most of what is wanted, and of several the shortest."""
        found = {self.last + 1: _Path()}
        for i in range(self.last, self.first - 1, -1):
            ways = [found[after] for after in self._next(i) if after in found]
            if ways:
                best = max(ways, key=lambda way: (way.wanted, -way.slots))
                found[i] = best.after(self.instructions[i], wanted, self.multiply, self.inner.get(i, 1.0))
        return found[self.first]

    def _next(self, i: int) -> Iterator[int]:
        """What may be executed next, without going back."""
        each = self.instructions[i]
        if each.base == "EXIT" and not each.predicate:
            return
        target = self.labels.get(each.target, -1)
        if each.base != "BRA" or each.predicate or target <= i:
            yield i + 1
        if target > i:
            yield target
