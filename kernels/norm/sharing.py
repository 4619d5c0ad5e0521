"""How groups of elements that share a mean and a variance are shared among blocks and threads: by their shape alone,
so that every GPU gives the same bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.loader import fast_div
from ..cuda.windows import WARP, largest_power_of_two

THREADS = 256
_BLOCKS_PER_SM = 4
"""What the compiler may count on: left to itself it spills a register or two of double for one block more."""

BLOCKS = 1024
"""That a group's parts may make up: about as many as a large GPU runs at once."""

_LEAST_VECTORS = 8
"""Of a thread: a group that leaves each less than twice as many has one part, which one block reads once from memory
and then from its cache."""

_SECTOR = 32
"""Bytes that memory is read in."""


@dataclass(frozen=True)
class Sharing:
    """The struct Groups of norm.cuh, and its VEC and LANES."""

    number: int
    run: int  # vectors
    vectors: int  # of a group
    stride: int  # vectors from a run to the next
    vec: int
    lanes: int
    parts: int

    @classmethod
    @cache
    def of(cls, number: int, runs: int, run: int, stride: int, *, alike: int, itemsize: int) -> Sharing:
        """For so many groups of `runs` runs of `run` elements, `stride` apart. A vector lies in `alike` neighbouring
        elements, which begin at a multiple of it."""
        vec = largest_power_of_two(alike, ALIGNMENT // itemsize)
        length = run // vec
        vectors = runs * length
        lanes = _lanes(length if _interleaved(number, runs, run * itemsize) else vectors)
        blocks = -(-number * lanes // THREADS)
        most = min(BLOCKS // max(1, blocks), math.isqrt(vectors * lanes), vectors // (_LEAST_VECTORS * lanes))
        return cls(number, length, vectors, stride // vec, vec, lanes, max(1, most))

    @property
    def part_vectors(self) -> int:
        return -(-self.vectors // self.parts)

    @property
    def part_blocks(self) -> int:
        return -(-self.number * self.lanes // THREADS)

    @property
    def blocks(self) -> int:
        return self.part_blocks * self.parts

    def defines(self) -> dict[str, object]:
        return {"THREADS": THREADS, "BLOCKS_PER_SM": _BLOCKS_PER_SM, "LANES": self.lanes, "VEC": self.vec}

    def values(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "vectors": self.vectors,
            "part_vectors": self.part_vectors,
            "blocks": fast_div(max(1, self.part_blocks)),
            "run": fast_div(max(1, self.run)),
            "stride": self.stride,
        }


def _lanes(vectors: int) -> int:
    """Few different numbers: each is a kernel of its own to compile."""
    if vectors > 4 * WARP:
        return THREADS
    return WARP if vectors > 8 else 4 if vectors > 1 else 1


def _interleaved(number: int, runs: int, bytes_of_run: int) -> bool:
    """Whether neighbouring threads must take neighbouring groups, whose runs lie next to each other, to read whole
    sectors of memory."""
    return runs > 1 and number > 1 and bytes_of_run < _SECTOR
