"""Sums over a whole batch: cut into parts by the shape alone, which are then added in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ..dtypes import accumulation_dtype
from .gemm.choice import WORKSPACE_LIMIT
from .runtime.arrays import ALIGNMENT
from .runtime.launch import check_index, launch
from .runtime.loader import C_TYPES, fast_div
from .runtime.replay import empty
from .windows import THREADS, WARP, largest_power_of_two

_SUM_THREADS = 256

PARTIAL_SUMS = 2**12
"""Blocks, or for a bias gradient warps, that a sum over the batch is cut into: more than any GPU runs at once."""


@dataclass(frozen=True)
class Split:
    """A sum cut into `parts` of `size` terms each: by the shape alone, so that every GPU gives the same bits."""

    parts: int
    size: int

    @classmethod
    @cache
    def of(cls, terms: int, threads: int, sums: int, results: int) -> Split:
        """Enough parts for `sums` such sums of `results` numbers in all to fill a GPU, at least 8 terms a thread."""
        parts = max(1, min(PARTIAL_SUMS // sums, terms // (8 * threads), WORKSPACE_LIMIT // (8 * results)))
        size = -(-terms // parts)
        return cls(max(1, -(-terms // size)) if size else 1, size)


def bias_grad(dy: Any, n: int, k: int, pixels: int, db_shape: tuple[int, ...]) -> Any:
    """The sums of dy, n images of k channels of so many pixels, over all but the channels."""
    db = empty(db_shape, dy.dtype)
    if k == 0:
        return db
    vec = largest_power_of_two(pixels, ALIGNMENT // dy.itemsize)
    plane = pixels // vec
    lanes = min(WARP, 1 << max(plane - 1, 0).bit_length())
    check_index("conv2d_bias_grad", pixels=n * pixels)
    split = Split.of(n * plane, lanes, k, k)
    partial = empty((split.parts, k), accumulation_dtype(dy.dtype))
    filter_blocks = -(-k * lanes // THREADS)
    launch(
        "bias_grad.cu",
        "bias_grad",
        {"TYPE": C_TYPES[dy.dtype.name], "THREADS": THREADS, "LANES": lanes, "VEC": vec},
        filter_blocks * split.parts,
        THREADS,
        0,
        dy=dy,
        partial=partial,
        filters=k,
        filter_blocks=fast_div(filter_blocks),
        vectors=n * plane,
        part_vectors=split.size,
        plane=fast_div(max(plane, 1)),
        image=k * pixels,
    )
    sum_partials(partial, db, None, split.parts, (1, 1))
    return db


def sum_partials(partial: Any, y: Any, bias: Any, parts: int, channels: tuple[int, int]) -> None:
    """y = the sum of the `parts` parts of its size in `partial`, in a fixed order, plus the bias."""
    lanes = 8 if parts >= 16 else 1
    defines = {"TYPE": C_TYPES[y.dtype.name], "THREADS": _SUM_THREADS, "LANES": lanes}
    launch(
        "split_sum.cu",
        "split_sum",
        defines,
        -(-y.size * lanes // _SUM_THREADS),
        _SUM_THREADS,
        0,
        y=y,
        bias=bias,
        partial=partial,
        size=y.size,
        parts=parts,
        inner=fast_div(channels[1]),
        channels=fast_div(channels[0]),
    )
