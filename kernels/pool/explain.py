"""Max and average pooling explained: their formulas, and the terms of one element of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, letters, reads, stands_at, term, window_facts
from .geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry


def _max_formulas(g: PoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, r, h = letters(g)
    return Formulas(
        "pool",
        f"Y[n,c,{p}] = max_{r} X[n,c,{stands_at(g)}]",
        {"dx": f"dX[n,c,{h}] = Σ dY[n,c,{p}] over the windows {p} whose maximum stood at {h}"},
        (("kernel", str(g.kernel_size)), *window_facts(g)),
    )


def _avg_formulas(g: AvgPoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, r, h = letters(g)
    return Formulas(
        "pool",
        f"Y[n,c,{p}] = 1/D[{p}] · Σ_{r} X[n,c,{stands_at(g)}], D the divisor",
        {"dx": f"dX[n,c,{h}] = Σ dY[n,c,{p}] / D[{p}] over the windows {p} that cover {h}"},
        (("kernel", str(g.kernel_size)), *window_facts(g)),
    )


def _adaptive_formulas(g: AdaptivePoolGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    p, _, h = letters(g)
    covered = ",".join(
        f"⌊{extent}{letter}/{count}⌋..⌈{extent}({letter}+1)/{count}⌉-1"
        for letter, extent, count in zip(p.split(","), g.extents, g.windows, strict=True)
    )
    return Formulas(
        "pool",
        f"Y[n,c,{p}] = mean of X[n,c,{covered}]",
        {"dx": f"dX[n,c,{h}] = Σ dY[n,c,{p}] / the window's size over the windows {p} that cover {h}"},
    )


def _max_terms(gradient: str, index: Index, g: PoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, *position = index
    for p, positions in _windows(g):
        if tuple(position) in positions and _maximum(arrays["x"][n, c], positions) == tuple(position):
            yield term(element("dY", arrays["dy"], n, c, *p))


def _avg_terms(gradient: str, index: Index, g: AvgPoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, *position = index
    for p, positions in _windows(g):
        if tuple(position) in positions:
            divisor = _divisor(g, p, len(positions))
            yield term(element("dY", arrays["dy"], n, c, *p), (f"1/{divisor}", 1 / divisor))


def _adaptive_terms(gradient: str, index: Index, g: AdaptivePoolGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    n, c, *position = index
    for p in np.ndindex(g.windows):
        covered = [
            [i for i in range(extent) if i * count < (at + 1) * extent and (i + 1) * count > at * extent]
            for at, extent, count in zip(p, g.extents, g.windows, strict=True)
        ]
        if all(h in part for h, part in zip(position, covered, strict=True)):
            size = math.prod(map(len, covered))
            yield term(element("dY", arrays["dy"], n, c, *p), (f"1/{size}", 1 / size))


def _windows(g: PoolGeometry) -> Iterator[tuple[Index, list[Index]]]:
    """Every window with the positions of its taps on the input, in row-major order."""
    read = [reads(axis) for axis in g.axes]
    for p in np.ndindex(g.windows):
        along = ([h for tap in taps for window, h in tap if window == at] for taps, at in zip(read, p, strict=True))
        yield p, list(product(*along))


def _maximum(plane: Any, positions: list[Index]) -> Index:
    """Where the window's maximum stands: the first of equals, but the last NaN."""
    best = positions[0]
    for position in positions[1:]:
        if plane[position] > plane[best] or np.isnan(plane[position]):
            best = position
    return best


def _divisor(g: AvgPoolGeometry, p: Index, on_input: int) -> int:
    """The override, or how many taps lie on the padded input, or on the input itself."""
    if g.divisor_override is not None:
        return g.divisor_override
    if not g.count_include_pad:
        return on_input
    counts = []
    for axis, window in zip(g.axes, p, strict=True):
        first = window * axis.stride - axis.before
        counts.append(sum(h < axis.extent + axis.after for h in range(first, first + axis.taps)))
    return math.prod(counts)


EXPLAIN = {
    "adaptive_avg_pool": Explain(_adaptive_formulas, _adaptive_terms),
    "max_pool": Explain(_max_formulas, _max_terms),
    "avg_pool": Explain(_avg_formulas, _avg_terms),
}
