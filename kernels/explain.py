"""What the rooms explain their operations with: formulas, terms, and where the taps of a window stand.

Terms are plain loops over the definition. They share nothing with axis.py and the paths, so that they can be wrong
only by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Index = tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Formulas:
    """kind: the short name. forward: of Y. gradients: by name, "dx" or "dw". facts: label and text of what the
    operation has beside its input, bias and output.

    X is the input, Y the output, W and b the parameters; dY stands for ∂L/∂Y, the gradient that arrives, and so do dW,
    dX and db.
    """

    kind: str
    forward: str
    gradients: dict[str, str]
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Term:
    """One product: the factors with what they are, such as ("dY[0,1,2,3]", 0.5)."""

    factors: tuple[tuple[str, float], ...]

    @property
    def value(self) -> float:
        return math.prod(value for _, value in self.factors)


class Explain(NamedTuple):
    """How one operation is explained.

    formulas: of its geometry and the shapes of the arrays there are, by name ("x", "w", "b"). terms: those that add up
    to an element of the gradient "dx", "dw" or "db", of the geometry and the NumPy arrays by name, "y" and "dy" among
    them.
    """

    formulas: Callable[[Any, Mapping[str, Shape]], Formulas]
    terms: Callable[[str, Index, Any, Mapping[str, Any]], Iterator[Term]]


def term(*factors: tuple[str, float]) -> Term:
    return Term(factors)


def element(name: str, array: Any, *index: int) -> tuple[str, float]:
    """A factor: an element of an array under the name that formulas give it."""
    return f"{name}[{','.join(map(str, index))}]", float(array[index])


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
