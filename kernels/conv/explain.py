"""Convolution and its transpose explained: their formulas, and the products of one element of a gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from ..explain import Explain, Formulas, Index, Shape, Term, element, letters, reads, stands_at, term, window_facts
from .geometry import ConvGeometry


def _formulas(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    (p, r, h), where = letters(g), stands_at(g)
    group = _group(g)
    return Formulas(
        "conv",
        f"Y[n,k,{p}] = {_bias(shapes)}Σ_c,{r} X[n,c,{where}] · W[k,c,{r}]{group}",
        {
            "dw": f"dW[k,c,{r}] = Σ_n,{p} dY[n,k,{p}] · X[n,c,{where}]{group}",
            "dx": f"dX[n,c,{h}] = Σ_k,{r} dY[n,k,{p}] · W[k,c,{r}] where {_equal(g)}{group}",
            "db": f"db[k] = Σ_n,{p} dY[n,k,{p}]",
        },
        _facts(g),
    )


def _transposed_formulas(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    """X has the windows of the convolution whose input gradient Y is."""
    (p, r, h), where = letters(g), stands_at(g)
    group = _group(g)
    return Formulas(
        "conv transpose",
        f"Y[n,k,{h}] = {_bias(shapes)}Σ_c,{r} X[n,c,{p}] · W[c,k,{r}] where {_equal(g)}{group}",
        {
            "dw": f"dW[c,k,{r}] = Σ_n,{p} X[n,c,{p}] · dY[n,k,{where}]{group}",
            "dx": f"dX[n,c,{p}] = Σ_k,{r} dY[n,k,{where}] · W[c,k,{r}]{group}",
            "db": f"db[k] = Σ_n,{h} dY[n,k,{h}]",
        },
        _facts(g),
    )


def _group(g: ConvGeometry) -> str:
    return "" if g.groups == 1 else f", k and c of one of the {g.groups} groups"


def _bias(shapes: Mapping[str, Shape]) -> str:
    return "b[k] + " if "b" in shapes else ""


def _equal(g: ConvGeometry) -> str:
    """Where a tap stands at a position: "2p+r-1 = h, q+s = w"."""
    tap_and_position = zip(stands_at(g).split(","), letters(g)[2].split(","), strict=True)
    return ", ".join(map(" = ".join, tap_and_position))


def _facts(g: ConvGeometry) -> tuple[tuple[str, str], ...]:
    groups = () if g.groups == 1 else (("groups", str(g.groups)),)
    return (("kernel", str(g.w_shape)), *window_facts(g), *groups)


def _terms(gradient: str, index: Index, g: ConvGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
    if gradient == "db":
        yield from _sum_of(dy, index[0])
    elif gradient == "dw":
        k, c, *taps = index
        for n, p, h in _met_by(taps, g):
            yield term(element("dY", dy, n, k, *p), element("X", x, n, _channel(k, c, g), *h))
    else:
        n, channel, *position = index
        group, c = divmod(channel, g.C // g.groups)
        for k, (p, r) in product(_of_group(group, g.K, g), _reaching(position, g)):
            yield term(element("dY", dy, n, k, *p), element("W", w, k, c, *r))


def _transposed_terms(gradient: str, index: Index, g: ConvGeometry, arrays: Mapping[str, Any]) -> Iterator[Term]:
    x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
    if gradient == "db":
        yield from _sum_of(dy, index[0])
    elif gradient == "dw":
        c, k, *taps = index
        for n, p, h in _met_by(taps, g):
            yield term(element("X", x, n, c, *p), element("dY", dy, n, _channel(c, k, g), *h))
    else:
        n, c, *window = index
        group = c // (g.K // g.groups)
        for k, (r, h) in product(range(g.C // g.groups), _under(window, g)):
            channel = group * (g.C // g.groups) + k
            yield term(element("dY", dy, n, channel, *h), element("W", w, c, k, *r))


def _sum_of(dy: Any, k: int) -> Iterator[Term]:
    for n, *p in np.ndindex(len(dy), *dy.shape[2:]):
        yield term(element("dY", dy, n, k, *p))


def _channel(row: int, of_group: int, g: ConvGeometry) -> int:
    """The channel that column `of_group` of a row of weights reads."""
    return row // (g.K // g.groups) * (g.C // g.groups) + of_group


def _of_group(group: int, channels: int, g: ConvGeometry) -> range:
    return range(group * (channels // g.groups), (group + 1) * (channels // g.groups))


def _met_by(taps: Any, g: ConvGeometry) -> Iterator[tuple[int, Index, Index]]:
    """Every image, window and position that a tap meets."""
    along = [reads(axis)[tap] for axis, tap in zip(g.axes, taps, strict=True)]
    for n, *pairs in product(range(g.N), *along):
        p, h = zip(*pairs, strict=True)
        yield n, p, h


def _reaching(position: Any, g: ConvGeometry) -> Iterator[tuple[Index, Index]]:
    """Every window and tap that stands at a position, by taps in row-major order."""
    along = [
        [[(window, tap) for window, h in reads(axis)[tap] if h == at] for tap in range(axis.taps)]
        for axis, at in zip(g.axes, position, strict=True)
    ]
    for taps in product(*along):
        for pairs in product(*taps):
            p, r = zip(*pairs, strict=True)
            yield p, r


def _under(window: Any, g: ConvGeometry) -> Iterator[tuple[Index, Index]]:
    """Every tap of a window with the position where it stands."""
    along = [
        [(tap, h) for tap, pairs in enumerate(reads(axis)) for p, h in pairs if p == at]
        for axis, at in zip(g.axes, window, strict=True)
    ]
    for pairs in product(*along):
        r, h = zip(*pairs, strict=True)
        yield r, h


EXPLAIN = {"conv": Explain(_formulas, _terms), "conv_transpose": Explain(_transposed_formulas, _transposed_terms)}
