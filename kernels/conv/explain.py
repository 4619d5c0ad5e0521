"""Convolution and its transpose explained: their formulas, and the products that add up to an element."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product

from ..explain import (
    Explain,
    Formulas,
    activated,
    arriving,
    before_activation,
    element,
    index_letters,
    letters,
    meetings,
    passes,
    place,
    stands_at,
    window_facts,
    windows_of,
)
from ..sums import ONLY, Factor, Shape, Sum, Sums, Table
from .geometry import ConvGeometry


def _formulas(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    (p, r, h), where = letters(g), stands_at(g)
    group, (dz, where_passed) = _group(g), arriving(g.activation)
    y, w = element(g, "n", "k", p), element(g, "k", "c", r)
    x, read = element(g, "n", "c", h), element(g, "n", "c", where)
    return Formulas(
        "conv",
        f"Y[{y}] = {activated(f'{_bias(shapes)}Σ_c,{r} X[{read}] · W[{w}]', g.activation)}{group}",
        {
            "dw": f"dW[{w}] = Σ_n,{p} {dz}[{y}] · X[{read}]{group}{where_passed}",
            "dx": f"dX[{x}] = Σ_k,{r} {dz}[{y}] · W[{w}] where {_equal(g)}{group}",
            "db": f"db[k] = Σ_n,{p} {dz}[{y}]",
        },
        _facts(g),
        recap=f"{g.K} filters of shape {g.w_shape[1:]} are laid over the input in steps of {g.stride}. Where a filter "
        f"lies, its weights are multiplied by what is under them and added up{_and_bias(shapes)}: one element of the "
        f"output, {g.windows} for each filter and image.",
        reasons={
            "dw": "A weight was multiplied, in every window of every image, by what lay under it: dW is the input "
            "convolved with dY.",
            "dx": "An element of the input lay under several windows, under another weight in each: every one of these "
            "windows returns its dY times that weight. That is a full correlation of dY, spread out by the stride, "
            "with the kernel turned round: the last weight meets the first window.",
            "db": "The bias was added in every window of every image: its gradient is the sum of them all.",
        },
    )


def _transposed_formulas(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Formulas:
    """X has the windows of the convolution whose input gradient Y is."""
    (p, r, h), where = letters(g), stands_at(g)
    group = _group(g)
    x, w = element(g, "n", "c", p), element(g, "c", "k", r)
    y, written = element(g, "n", "k", h), element(g, "n", "k", where)
    return Formulas(
        "conv transpose",
        f"Y[{y}] = {_bias(shapes)}Σ_c,{r} X[{x}] · W[{w}] where {_equal(g)}{group}",
        {
            "dw": f"dW[{w}] = Σ_n,{p} X[{x}] · dY[{written}]{group}",
            "dx": f"dX[{x}] = Σ_k,{r} dY[{written}] · W[{w}]{group}",
            "db": f"db[k] = Σ_n,{h} dY[{y}]",
        },
        _facts(g),
        recap=f"Every element of the input lays a kernel, scaled by itself, over the output, in steps of {g.stride}; "
        "where they overlap they are added up. It is the input gradient of a convolution, used forwards.",
        reasons={
            "dw": "A weight carried every element of the input to a place of the output: their products are added up.",
            "dx": "An element of the input reached the output through every weight: dX is a convolution of dY.",
            "db": "The bias was added everywhere in the output of every image.",
        },
    )


def _group(g: ConvGeometry) -> str:
    return "" if g.groups == 1 else f", k and c of one of the {g.groups} groups"


def _bias(shapes: Mapping[str, Shape]) -> str:
    return "b[k] + " if "b" in shapes else ""


def _and_bias(shapes: Mapping[str, Shape]) -> str:
    return " with its bias" if "b" in shapes else ""


def _equal(g: ConvGeometry) -> str:
    """Where a tap stands at a position: "2p+r-1 = h, q+s = w"."""
    tap_and_position = zip(stands_at(g).split(","), letters(g)[2].split(","), strict=True)
    return ", ".join(map(" = ".join, tap_and_position))


def _facts(g: ConvGeometry) -> tuple[tuple[str, str], ...]:
    groups = () if g.groups == 1 else (("groups", str(g.groups)),)
    return (("kernel", str(g.w_shape)), *window_facts(g), *groups)


def _sums(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Sums:
    p, r, h = index_letters(g)
    channel, of_group = _channels(g, "kc")
    x, w, y = place(g, "n", channel, h), place(g, "k", "c", r), place(g, "n", "k", p)
    taps = (*of_group, *meetings(g))
    sums = {
        "y": Sum(y, (Factor("x", x), Factor("w", w)), taps, nothing="its window lies in padding"),
        "dw": Sum(w, (Factor("dy", y), Factor("x", x)), taps, nothing="this tap meets nothing but padding"),
        "dx": Sum(x, (Factor("dy", y), Factor("w", w)), taps, nothing="no window covers it"),
    }
    return before_activation(g.activation, _with_bias(shapes, y, "k", sums))


def _transposed_sums(g: ConvGeometry, shapes: Mapping[str, Shape]) -> Sums:
    p, r, h = index_letters(g)
    channel, of_group = _channels(g, "ck")
    x, w, y = place(g, "n", "c", p), place(g, "c", "k", r), place(g, "n", channel, h)
    taps = (*of_group, *meetings(g))
    return _with_bias(
        shapes,
        y,
        channel,
        {
            "y": Sum(y, (Factor("x", x), Factor("w", w)), taps, nothing="no window covers it"),
            "dw": Sum(w, (Factor("x", x), Factor("dy", y)), taps, nothing="this tap meets nothing but padding"),
            "dx": Sum(x, (Factor("dy", y), Factor("w", w)), taps, nothing="its window lies in padding"),
        },
    )


def _channels(g: ConvGeometry, of_weight: str) -> tuple[str, tuple[Table, ...]]:
    """The letter of the channel that a column of a row of weights stands for, and which it is: with one group the
    column itself. of_weight: the letters of row and column."""
    if g.groups == 1:
        return of_weight[1], ()
    rows, columns = g.K // g.groups, g.C // g.groups
    numbered = ((k, c, k // rows * columns + c) for k, c in product(range(g.K), range(columns)))
    return "i", (Table(f"{of_weight}i", tuple(numbered)),)


def _with_bias(shapes: Mapping[str, Shape], y: str, channel: str, sums: dict[str, Sum]) -> Sums:
    found: Sums = {name: (each,) for name, each in sums.items()}
    if "b" in shapes:
        b = f"{channel}{ONLY * (len(shapes['b']) - 1)}"
        found["y"] += (Sum(y, (Factor("b", b),)),)
        found["db"] = (Sum(b, (Factor("dy", y),)),)
    return found


EXPLAIN = {
    "conv": Explain(_formulas, _sums, passes, windows_of),
    "conv_transpose": Explain(_transposed_formulas, _transposed_sums, windows=partial(windows_of, transposed=True)),
}
