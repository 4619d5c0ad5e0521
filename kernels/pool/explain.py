"""Max and average pooling explained: their formulas, and what adds up to an element."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from ..explain import (
    Arrays,
    Explain,
    Formulas,
    element,
    index_letters,
    letters,
    meetings,
    place,
    reads,
    stands_at,
    window_facts,
    windows_of,
)
from ..layout import to_channels_first, to_channels_last
from ..sums import Chosen, Factor, Flat, Index, Shape, Sum, Sums, Table
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

_SHARED = "Every element of a window had the same share of the mean, and gets that share of its dY back."


def _max_formulas(g: PoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, r, h = letters(g)
    y, x, read = (element(g, "n", "c", each) for each in (p, h, stands_at(g)))
    return Formulas(
        "pool",
        f"Y[{y}] = max_{r} X[{read}]",
        {"dx": f"dX[{x}] = Σ dY[{y}] over the windows {p} whose maximum stood at {h}"},
        (("kernel", str(g.kernel_size)), *window_facts(g)),
        recap=f"A window of {g.kernel_size} goes over every channel in steps of {g.stride} and keeps the largest.",
        reasons={
            "dx": "Only the maximum of a window reached the output: dY is scattered back to where the maxima stood, "
            "all else gets 0. Max pooling has no weights and no bias."
        },
    )


def _avg_formulas(g: AvgPoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, r, h = letters(g)
    y, x, read = (element(g, "n", "c", each) for each in (p, h, stands_at(g)))
    return Formulas(
        "pool",
        f"Y[{y}] = 1/D[{p}] · Σ_{r} X[{read}], D the divisor",
        {"dx": f"dX[{x}] = Σ dY[{y}] / D[{p}] over the windows {p} that cover {h}"},
        (("kernel", str(g.kernel_size)), *window_facts(g)),
        recap=f"A window of {g.kernel_size} goes over every channel in steps of {g.stride} and gives the mean.",
        reasons={"dx": _SHARED},
    )


def _adaptive_formulas(g: AdaptivePoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, _, h = letters(g)
    covered = ",".join(
        f"⌊{extent}{letter}/{count}⌋..⌈{extent}({letter}+1)/{count}⌉-1"
        for letter, extent, count in zip(p.split(","), g.extents, g.windows, strict=True)
    )
    y, x, read = (element(g, "n", "c", each) for each in (p, h, covered))
    return Formulas(
        "pool",
        f"Y[{y}] = mean of X[{read}]",
        {"dx": f"dX[{x}] = Σ dY[{y}] / the window's size over the windows {p} that cover {h}"},
        recap=f"{g.windows} windows share every channel as evenly as they can, and give their means.",
        reasons={"dx": _SHARED},
    )


def _max_sums(g: PoolGeometry, shapes: Mapping[str, Shape]) -> Sums:
    p, r, h = index_letters(g)
    at = ",".join(f"{{{letter}}}" for letter in p)
    y, x = place(g, "n", "c", p), place(g, "n", "c", h)
    winner = Chosen(Factor("winner", y), "m", f"window {at} covers it, but its maximum stands elsewhere")
    taps: tuple[Table | Flat, ...] = (*meetings(g), Flat("m", r, g.kernel_size))
    return {
        "y": (Sum(y, (Factor("x", x),), taps, winner, nothing="its window lies in padding"),),
        "dx": (Sum(x, (Factor("dy", y),), taps, winner, nothing="no window covers it"),),
    }


def _winners(g: PoolGeometry, arrays: Arrays) -> dict[str, Any]:
    """The tap of each window where its maximum stands: the first of equals, but the last NaN. -1: all is padding."""
    x = to_channels_first(arrays["x"]) if g.channels_last else arrays["x"]
    best = np.full((g.N, g.C, *g.windows), -np.inf)
    winner = np.full(best.shape, -1)
    read = [reads(axis) for axis in g.axes]
    for number, tap in enumerate(np.ndindex(g.kernel_size)):
        pairs = [np.array(of_taps[r], int).reshape(-1, 2) for of_taps, r in zip(read, tap, strict=True)]
        windows, positions = (_all_of([each[:, side] for each in pairs]) for side in (0, 1))
        values, so_far = x[positions], best[windows]
        better = np.isnan(values) | (values > so_far) | (winner[windows] < 0)
        best[windows] = np.where(better, values, so_far)
        winner[windows] = np.where(better, number, winner[windows])
    return {"winner": to_channels_last(winner) if g.channels_last else winner}


def _all_of(along: list[Any]) -> tuple[Any, ...]:
    """An index of all images and channels, and along each axis of these."""
    return (..., *np.ix_(*along))


def _avg_sums(g: AvgPoolGeometry, shapes: Mapping[str, Shape]) -> Sums:
    return _mean(g, meetings(g))


def _adaptive_sums(g: AdaptivePoolGeometry, shapes: Mapping[str, Shape]) -> Sums:
    p, _, h = index_letters(g)
    return _mean(g, tuple(Table("".join(names), rows) for *names, rows in zip(p, h, _covered(g), strict=True)))


def _mean(g: AvgPoolGeometry | AdaptivePoolGeometry, taps: tuple[Table, ...]) -> Sums:
    p, _, h = index_letters(g)
    y, x, divisor = place(g, "n", "c", p), place(g, "n", "c", h), Factor("1/D", p)
    return {
        "y": (Sum(y, (Factor("x", x), divisor), taps, nothing="its window lies in padding"),),
        "dx": (Sum(x, (Factor("dy", y), divisor), taps, nothing="no window covers it"),),
    }


def _covered(g: AdaptivePoolGeometry) -> list[tuple[Index, ...]]:
    """For each axis every window with every position under it."""
    return [
        tuple(
            (p, h)
            for p, h in np.ndindex(count, extent)
            if p * extent < (h + 1) * count and h * count < (p + 1) * extent
        )
        for count, extent in zip(g.windows, g.extents, strict=True)
    ]


def _adaptive_divisors(g: AdaptivePoolGeometry, arrays: Arrays) -> dict[str, Any]:
    covered = zip(_covered(g), g.windows, strict=True)
    sizes = [np.bincount([p for p, _ in rows], minlength=count) for rows, count in covered]
    return {"1/D": 1 / reduce(np.multiply.outer, sizes)}


def _divisors(g: AvgPoolGeometry, arrays: Arrays) -> dict[str, Any]:
    """1 over the override, or over how many taps lie on the padded input, or on the input itself."""
    if g.divisor_override is not None:
        return {"1/D": np.full(g.windows, 1 / g.divisor_override)}
    sizes = []
    for axis in g.axes:
        positions = np.add.outer(np.arange(axis.windows) * axis.stride, np.arange(axis.taps)) - axis.before
        inside = positions < axis.extent + axis.after if g.count_include_pad else _is_on(positions, axis.extent)
        sizes.append(inside.sum(axis=1))
    return {"1/D": 1 / np.maximum(reduce(np.multiply.outer, sizes), 1)}


def _is_on(positions: Any, extent: int) -> Any:
    return (positions >= 0) & (positions < extent)


EXPLAIN = {
    "adaptive_avg_pool": Explain(_adaptive_formulas, _adaptive_sums, _adaptive_divisors),
    "max_pool": Explain(_max_formulas, _max_sums, _winners, windows_of),
    "avg_pool": Explain(_avg_formulas, _avg_sums, _divisors, windows_of),
}
