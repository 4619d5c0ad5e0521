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
    to an element of the gradient "dx", "dw" or "db", of the geometry and the NumPy arrays by name, "dy" among them.
    """

    formulas: Callable[[Any, Mapping[str, Shape]], Formulas]
    terms: Callable[[str, Index, Any, Mapping[str, Any]], Iterator[Term]]


def term(*factors: tuple[str, float]) -> Term:
    return Term(factors)


def element(name: str, array: Any, *index: int) -> tuple[str, float]:
    """A factor: an element of an array under the name that formulas give it."""
    return f"{name}[{','.join(map(str, index))}]", float(array[index])


def row_and_column(g: Any) -> tuple[str, str]:
    """Where in X the tap r,s of the window p,q stands: "2p+r-1", "q+s"."""
    return _position("p", "r", g, 0), _position("q", "s", g, 1)


def _position(window: str, tap: str, g: Any, axis: int) -> str:
    stride, dilation, before = g.stride[axis], g.dilation[axis], g.padding[axis][0]
    text = f"{_times(stride)}{window}+{_times(dilation)}{tap}"
    return f"{text}-{before}" if before else text


def _times(factor: int) -> str:
    return "" if factor == 1 else str(factor)


def window_facts(g: Any) -> tuple[tuple[str, str], ...]:
    """The stride, and the padding and dilation where there is any."""
    facts = [("stride", g.stride)]
    if g.padding != ((0, 0), (0, 0)):
        facts.append(("padding", g.padding))
    if g.dilation != (1, 1):
        facts.append(("dilation", g.dilation))
    return tuple((label, str(value)) for label, value in facts)


def reads(g: Any, axis: int) -> list[list[tuple[int, int]]]:
    """For each tap along an axis the (window, position) pairs that lie on the input."""
    windows, taps, extent = ((g.P, g.R, g.H), (g.Q, g.S, g.W))[axis]
    return [
        [
            (window, position)
            for window in range(windows)
            if 0 <= (position := window * g.stride[axis] + tap * g.dilation[axis] - g.padding[axis][0]) < extent
        ]
        for tap in range(taps)
    ]
