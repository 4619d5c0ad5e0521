"""What the main loops cost, as counted in the compiled kernels: loops.tsv, which `python -m
backstride.kernels.cuda.offline.slots` writes. Not timed on a GPU."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from ..runtime.gpus import nearest_below
from .configuration import K_BYTES, Configuration, HaloConfiguration, WeightHaloConfiguration

FILE = Path(__file__).with_name("loops.tsv")


class Cost(NamedTuple):
    """Of one warp: issued instructions, and clocks of shared memory without bank conflicts."""

    slots: float
    shared_clocks: float

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(self.slots + other.slots, self.shared_clocks + other.shared_clocks)

    def times(self, count: float) -> Cost:
        return Cost(count * self.slots, count * self.shared_clocks)


def step(c: Configuration) -> Cost:
    """Of one warp in one step of the main loop: multiplying, and the words of A and B that its threads fetch."""
    sm = nearest_below(c.architecture.sm, architectures())
    fetching = cost(sm, fetch_name(source_of_a(c), word_bytes(c))).times(words_of_a(c))
    fetching += cost(sm, fetch_name(source_of_b(c), word_bytes_of_b(c))).times(words_of_b(c))
    return cost(sm, multiply_name(c)) + fetching


def words_of_a(c: Configuration) -> float:
    """That a thread fetches in one step, on the average of all steps."""
    if isinstance(c, HaloConfiguration):
        return c.tiles.pixels * c.k_bytes / 16 / c.threads / c.tiles.taps
    if isinstance(c, WeightHaloConfiguration):
        return c.parts
    return c.tile.m * c.k * c.itemsize / word_bytes(c) / c.threads


def words_of_b(c: Configuration) -> float:
    return c.tile.n * c.k * c.itemsize / word_bytes_of_b(c) / c.threads


def word_bytes(c: Configuration) -> int:
    """Of A's words."""
    if source_of_a(c) == "ChannelRows":
        return _channel_bytes(c)
    return c.vector_a * c.itemsize if c.product.gathered and c.halo is None else 16


def word_bytes_of_b(c: Configuration) -> int:
    """16 is what most have."""
    return _channel_bytes(c) if source_of_b(c) == "CornerRows" else 16


def _channel_bytes(c: Configuration) -> int:
    return min(16, c.product.channels * c.itemsize)


def source_of_a(c: Configuration) -> str:
    """The loader (src/): of a matrix, or of an image seen through a window."""
    if c.halo is not None:
        return f"{type(c).__name__}.{c.itemsize}"
    if c.product.gathered:
        return "TapRows" if c.product.a_k_major else "PixelRows"
    if c.product.a_k_major:
        return "KMajor"
    return "ChannelRows" if c.product.channels else "RowMajor"


def source_of_b(c: Configuration) -> str:
    if not c.product.b_k_major:
        return "RowMajor"
    return "CornerRows" if c.product.channels else "KMajor"


def multiply_name(c: Configuration) -> str:
    """The policy for the bytes of an element and a warp's part, how A and B lie in shared memory, and an uncommon
    k-tile."""
    majors = ("k" if c.product.a_k_major else "m", "k" if c.product.b_k_major else "n")
    images = type(c).__name__ if c.halo is not None else "".join(majors)
    k_tile = "" if c.k_bytes == K_BYTES else f" {c.k}"
    return f"{c.multiply} {c.itemsize} {c.tile.warp_m}x{c.tile.warp_n} {images}{k_tile}"


def fetch_name(source: str, size: int) -> str:
    return f"fetch {source} {size}"


@cache
def _table() -> tuple[str, dict[int, dict[str, tuple[float, ...]]]]:
    """The digest of the sources, and by compute capability each row's numbers."""
    digest, heading, *lines = FILE.read_text(encoding="utf-8").splitlines()
    architectures = [int(name) for name in heading.split("\t")[1:]]
    rows = [line.split("\t") for line in lines]
    return digest.removeprefix("# "), {
        sm: {row[0]: tuple(map(float, row[1 + i].split())) for row in rows if row[1 + i]}
        for i, sm in enumerate(architectures)
    }


def digest() -> str:
    """Of the sources that were measured."""
    return _table()[0]


def architectures() -> list[int]:
    return list(_table()[1])


def names(sm: int) -> set[str]:
    return set(_table()[1][sm])


def row(sm: int, name: str) -> tuple[float, ...]:
    """Slots, clocks of shared memory and, of a main loop, registers."""
    return _table()[1][sm][name]


@lru_cache(maxsize=4096)
def cost(sm: int, name: str) -> Cost:
    return Cost(*row(sm, name)[:2])
