"""What the rooms explain their operations with: formulas, sums of products, and where the taps of a window stand.

Sums are declared from the definition. They share nothing with axis.py and the paths, so that they can be wrong only by
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .sums import Factor, Shape, Sums, Table

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Formulas:
    """kind: the short name. forward: of Y. gradients: by name, those of the parameters, then "dx", then "db", each with
    its formula. facts: label and text of what the operation has beside its input, bias and output. recap: a sentence on
    forward. reasons: by gradient, a sentence on why it is so.

    X is the input, Y the output, W and b the parameters; dY stands for ∂L/∂Y, the gradient that arrives, and so do dW,
    dX and db.
    """

    kind: str
    forward: str
    gradients: dict[str, str]
    facts: tuple[tuple[str, str], ...] = ()
    recap: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)


class Windows(NamedTuple):
    """What is seen through windows. axes: each with extent, taps, windows, stride, before, after, dilation; they are
    those of the image or its gradient in the arrays `over`, whose windows' numbers are in the arrays `numbered`.

    letters: of the windows' numbers, the taps and the positions.
    """

    axes: tuple[Any, ...]
    letters: tuple[str, str, str]
    over: tuple[str, str] = ("x", "dx")
    numbered: tuple[str, str] = ("y", "dy")


def _no_arrays(g: Any, arrays: Arrays) -> dict[str, Any]:
    return {}


def _no_windows(g: Any) -> None:
    return None


class Explain(NamedTuple):
    """How one operation is explained, by functions of its geometry.

    formulas: of the shapes of the arrays there are, by name ("x", "w", "b"). sums: of the same shapes, what adds up to
    an element of the gradients "dx", "dw" or "db", and of "y" where that is a sum of products. made: NumPy arrays that
    sums name beside x, y, dy and the parameters, of all of these by name. windows: of what has them.
    """

    formulas: Callable[[Any, Mapping[str, Shape]], Formulas]
    sums: Callable[[Any, Mapping[str, Shape]], Sums]
    made: Callable[[Any, Arrays], dict[str, Any]] = _no_arrays
    windows: Callable[[Any], Windows | None] = _no_windows


_PASSES = "[Y>0]"


def activated(y: str, activation: str | None) -> str:
    """The formula of an operation's output, which may end with an activation."""
    return y if activation is None else f"max({y}, 0)"


def arriving(activation: str | None) -> tuple[str, str]:
    """What formulas call the gradient of what the activation is applied to, and where they say what that is."""
    return ("dY", "") if activation is None else ("G", ", G = dY where Y > 0, else 0")


def before_activation(activation: str | None, sums: Sums) -> Sums:
    """The sums of an operation that ends with an activation, made of those without it: of dY only what passes it comes
    back, and Y is no sum."""
    if activation is None:
        return sums
    return {
        name: tuple(replace(each, factors=tuple(_passing(each.factors))) for each in of)
        for name, of in sums.items()
        if name != "y"
    }


def _passing(factors: tuple[Factor, ...]) -> Iterator[Factor]:
    for factor in factors:
        yield factor
        if factor.array == "dy":
            yield Factor(_PASSES, factor.at)


def passes(g: Any, arrays: Arrays) -> dict[str, Any]:
    """Of an operation that ends with an activation, 1 where it lets pass."""
    return {} if g.activation is None else {_PASSES: (arrays["y"] > 0).astype(float)}


def letters(g: Any) -> tuple[str, str, str]:
    """What formulas call a window, a tap and a position of an image of g.rank axes: "p,q", "r,s" and "h,w"."""
    windows, taps, positions = (",".join(axes[-g.rank :]) for axes in ("zpq", "trs", "dhw"))
    return windows, taps, positions


def stands_at(g: Any) -> str:
    """Where in X the tap r,s of the window p,q stands: "2p+r-1,q+s"."""
    return ",".join(map(_position, *(letter.split(",") for letter in letters(g)[:2]), g.axes))


def _position(window: str, tap: str, axis: Any) -> str:
    text = f"{_times(axis.stride)}{window}+{_times(axis.dilation)}{tap}"
    return f"{text}-{axis.before}" if axis.before else text


def _times(factor: int) -> str:
    return "" if factor == 1 else str(factor)


def window_facts(g: Any) -> tuple[tuple[str, str], ...]:
    """The stride, and the padding and dilation where there is any."""
    facts = [("stride", g.stride)]
    if any(map(any, g.padding)):
        facts.append(("padding", g.padding))
    if {*g.dilation} != {1}:
        facts.append(("dilation", g.dilation))
    return tuple((label, str(value)) for label, value in facts)


def reads(axis: Any) -> list[list[tuple[int, int]]]:
    """For each tap along an axis the (window, position) pairs that lie on the input."""
    return [
        [
            (window, position)
            for window in range(axis.windows)
            if 0 <= (position := window * axis.stride + tap * axis.dilation - axis.before) < axis.extent
        ]
        for tap in range(axis.taps)
    ]


def index_letters(g: Any) -> tuple[str, str, str]:
    """`letters` as sums write them: "pq", "rs" and "hw"."""
    windows, taps, positions = (text.replace(",", "") for text in letters(g))
    return windows, taps, positions


def element(g: Any, *indices: str) -> str:
    """An element of an image, of which N, C and the positions are given, as formulas name it: "n,c,h,w"."""
    return ",".join(g.in_layout(*indices))


def place(g: Any, *indices: str) -> str:
    """The same in letters alone, as sums write it."""
    return "".join(g.in_layout(*indices))


def meetings(g: Any) -> tuple[Table, ...]:
    """For each axis which window, tap and position meet."""
    return tuple(
        Table("".join(names), tuple((p, r, h) for r, pairs in enumerate(reads(axis)) for p, h in pairs))
        for *names, axis in zip(*index_letters(g), g.axes, strict=True)
    )


def windows_of(g: Any, *, transposed: bool = False) -> Windows:
    if transposed:
        return Windows(g.axes, index_letters(g), ("y", "dy"), ("x", "dx"))
    return Windows(g.axes, index_letters(g))
