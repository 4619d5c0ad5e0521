"""Sums of products as data: which elements of which arrays are multiplied and added up to one element of a result.

The rooms declare them (`explain.py`), `explain --term` and the page follow them. Letters stand for indices, as in
dW[k,c,r,s] = Σ dY[n,k,p,q] · X[n,c,h,w]: those of the result are given, the others run over all that the relations
between them allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Index = tuple[int, ...]
Shape = tuple[int, ...]
Found = dict[str, int]
"""A value for each letter."""

ONLY = "."
"""In the place of a letter: the only index of an axis of extent 1."""

SYMBOLS = {"x": "X", "y": "Y", "w": "W", "dx": "dX", "dw": "dW", "dy": "dY"}
"""What formulas call an array; others have one name."""


@dataclass(frozen=True)
class Factor:
    """An element of an array. at: a letter, or ONLY, for each of its axes."""

    array: str
    at: str

    def index(self, found: Found) -> Index:
        return tuple(0 if letter == ONLY else found[letter] for letter in self.at)

    def name(self, found: Found) -> str:
        """Such as "dY[0,1,2,3]"."""
        name = SYMBOLS.get(self.array, self.array)
        return f"{name}[{','.join(map(str, self.index(found)))}]" if self.at else name


@dataclass(frozen=True)
class Table:
    """Which values some letters take together."""

    letters: str
    rows: tuple[Index, ...]

    def extended(self, found: Found) -> Iterator[Found]:
        for row in self.rows:
            if all(found.get(letter, value) == value for letter, value in zip(self.letters, row, strict=True)):
                yield found | dict(zip(self.letters, row, strict=True))


@dataclass(frozen=True)
class Flat:
    """The letter `flat` is the number, in row-major order, of the element `letters` of an array of these extents."""

    flat: str
    letters: str
    extents: Shape

    def extended(self, found: Found) -> Iterator[Found]:
        if all(letter in found for letter in self.letters):
            index = tuple(found[letter] for letter in self.letters)
            yield found | {self.flat: int(np.ravel_multi_index(index, self.extents))}
            return
        for flat in [found[self.flat]] if self.flat in found else range(math.prod(self.extents)):
            place = map(int, np.unravel_index(flat, self.extents))
            yield found | {self.flat: flat} | dict(zip(self.letters, place, strict=True))


@dataclass(frozen=True)
class Chosen:
    """Of what the relations allow only that where an element of an array, `of`, is the letter `by`; told of the others
    is `lost`, with their letters in it."""

    of: Factor
    by: str
    lost: str


@dataclass(frozen=True)
class Sum:
    """The element `at` of a result is sign · Σ of the products of `factors`. A result may be several such sums.

    relations: what holds between letters, in an order in which each has letters that are known before it. nothing: why
    there may be no products.
    """

    at: str
    factors: tuple[Factor, ...]
    relations: tuple[Table | Flat, ...] = ()
    chosen: Chosen | None = None
    sign: int = 1
    nothing: str = ""

    def candidates(self, index: Index, arrays: Mapping[str, Any]) -> Iterator[Found]:
        """Every set of values that the relations allow."""
        given = {letter: i for letter, i in zip(self.at, index, strict=True) if letter != ONLY}
        extents = {
            letter: extent
            for factor in self.factors
            for letter, extent in zip(factor.at, arrays[factor.array].shape, strict=True)
        }
        related = {letter for each in self.relations for letter in _letters(each)}
        free = [letter for letter in extents if letter not in given and letter not in related and letter != ONLY]
        for values in product(*(range(extents[letter]) for letter in free)):
            yield from _extended(given | dict(zip(free, values, strict=True)), self.relations)

    def keeps(self, found: Found, arrays: Mapping[str, Any]) -> bool:
        """Whether a candidate is one of the products."""
        chosen = self.chosen
        return chosen is None or arrays[chosen.of.array][chosen.of.index(found)] == found[chosen.by]

    def why_none(self, index: Index, arrays: Mapping[str, Any]) -> str:
        """Of an element without products."""
        lost = [self.chosen.lost.format_map(found) for found in self.candidates(index, arrays) if self.chosen]
        return "; ".join(lost) or self.nothing


Sums = dict[str, tuple[Sum, ...]]
"""By the name of a result, such as "dx"."""


@dataclass(frozen=True)
class Term:
    """One product: the factors with what they are, such as ("dY[0,1,2,3]", 0.5)."""

    factors: tuple[tuple[str, float], ...]
    sign: int = 1

    @property
    def value(self) -> float:
        return self.sign * math.prod(value for _, value in self.factors)


def terms(sums: tuple[Sum, ...], index: Index, arrays: Mapping[str, Any]) -> Iterator[Term]:
    """Every product of element `index`, of NumPy arrays by name."""
    for each in sums:
        for found in each.candidates(index, arrays):
            if each.keeps(found, arrays):
                values = (float(arrays[factor.array][factor.index(found)]) for factor in each.factors)
                yield Term(tuple(zip((f.name(found) for f in each.factors), values, strict=True)), each.sign)


def _letters(relation: Table | Flat) -> str:
    return relation.letters + (relation.flat if isinstance(relation, Flat) else "")


def _extended(found: Found, relations: tuple[Table | Flat, ...]) -> Iterator[Found]:
    if not relations:
        yield found
        return
    for more in relations[0].extended(found):
        yield from _extended(more, relations[1:])
