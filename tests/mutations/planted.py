"""A set of planted faults, and what shows that a kernel has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import emulator
import numpy as np

WRONG = "a wrong result"
NAN = "NaN where nothing was written"
RACE = "race on shared memory"
OUTSIDE = f"out-of-bounds read|invalid read|SEGV|{WRONG}"


@dataclass(frozen=True)
class Planted:
    """faults: name -> kernel, what is replaced in it, by what, and what shows it: a part of a fault's message or what
    the result is like, or several with | between them.

    evidence: what calls of these kernels show, "" for nothing. launched: further kernels that they launch.
    several_blocks: whether each of the kernels must run in more than one block for its faults to show.
    """

    faults: Mapping[str, tuple[str, str, str, str]]
    evidence: Callable[[ModuleType], str]
    launched: tuple[str, ...] = ()
    several_blocks: bool = False

    @property
    def kernels(self) -> set[str]:
        return {kernel for kernel, *_ in self.faults.values()} | set(self.launched)


def integers(*shape: int) -> np.ndarray:
    """Every sum of their products is exact, so any difference is an error."""
    return np.random.default_rng(0).integers(-4, 5, shape).astype("f4")


def shown(cupy: ModuleType, compute: Callable[..., Any], *arrays: np.ndarray, exact: bool = True) -> str:
    """What a computation shows of its kernel: a fault's message, or how its result differs from the NumPy path's."""
    expected = compute(*arrays)
    try:
        got = compute(*map(cupy.asarray, arrays)).get()
    except emulator.EmulatorFault as fault:
        return str(fault)
    if np.isnan(got).any():
        return NAN
    same = np.array_equal(got, expected) if exact else np.allclose(got, expected, rtol=1e-4, atol=1e-4)
    return "" if same else WRONG
