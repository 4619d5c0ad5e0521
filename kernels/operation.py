"""What an operation is: one record that every table, check and measurement of it is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One configuration: the extents and the options, named for what is awkward about it."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Array:
    """An array that an operation takes or returns: its name, and its shape in a geometry.

    kind: "values"; "weights", which tests keep finite; or "taps", of the geometry's tap_dtype.
    terms: of an output, how many terms an element adds up at most; None: it is exact.
    """

    name: str
    shape: Callable[[Any], Shape]
    kind: str = "values"
    terms: Callable[[Any], int] | None = None


@dataclass(frozen=True)
class Family:
    """Operations on the same shapes: a forward operation and what belongs to it.

    geometry: from a case; ValueError where a shape or an option is wrong. words: the command line's options that say a
    geometry. cases: awkward and small; large_cases: too large for an emulator.
    """

    name: str
    geometry: Callable[[Case], Any]
    words: Callable[[Any], Iterator[str]]
    cases: tuple[Case, ...]
    large_cases: tuple[Case, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation. On every path it is a function of its inputs and a geometry that returns its outputs.

    title: what tables call it. flops: a multiply and an add for each product, one operation for each element that is
    only read. is_product: whether tensor cores may compute it. parts: of a composite, the operations whose outputs it
    returns together. magnitudes: what replaces inputs and geometry so that the result is a sum of magnitudes, where
    that is not the inputs' absolute values alone.
    """

    name: str
    title: str
    family: Family
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    flops: Callable[[Any], int]
    is_product: bool = False
    parts: tuple[str, ...] = ()
    magnitudes: Callable[[tuple[Any, ...], Any], tuple[tuple[Any, ...], Any]] | None = None
