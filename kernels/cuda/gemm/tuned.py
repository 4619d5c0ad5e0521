"""Which configurations were measured to be the fastest on this GPU: answers that go before the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...._notices import warn_once
from .choice import alternatives, choose
from .configuration import Architecture, Configuration, Product, WeightHaloConfiguration


class Question(NamedTuple):
    """A product that is about to be launched. Its text is what a file of answers knows it by."""

    operation: str
    product: Product
    dtype: str
    architecture: Architecture
    precision: str
    one: Product | None
    """The same of one image, where that alone decides the bits."""

    def modelled(self) -> Configuration:
        return choose(*self[1:])

    def alternatives(self, *, any_bits: bool) -> list[Configuration]:
        """All that compute the same product; unless any_bits, those that sum it up as the model's choice does."""
        found, summation = alternatives(*self[1:]), self.modelled().summation
        return [c for c in found if any_bits or c.summation == summation]


def described(c: Configuration) -> dict[str, Any]:
    """What tells a configuration from the others of its product."""
    return {
        "multiply": c.multiply,
        "tile": [c.tile.m, c.tile.n, c.tile.warp_m, c.tile.warp_n],
        "halo": [c.halo.rows, c.halo.columns] if c.halo else None,
        "channels": c.channels if isinstance(c, WeightHaloConfiguration) else None,
        "splits": c.splits,
    }


@dataclass(frozen=True)
class Timed:
    """A configuration, as described, and the seconds that a call with it took."""

    configuration: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What was measured of a product, the one to take first. any_bits: it may sum up otherwise than the model's."""

    timings: tuple[Timed, ...]
    any_bits: bool = False


class Answers:
    """What is known of products, by a question's text. Never changed, and equal to itself alone, so that launches can
    be kept for it."""

    def __init__(self, known: Mapping[str, Answer]) -> None:
        self.known = dict(known)
        self._forced: dict[str, Configuration] = {}

    def with_answer(self, question: Question, answer: Answer) -> Answers:
        return Answers({**self.known, str(question): answer})

    def forcing(self, question: Question, configuration: Configuration) -> Answers:
        """As these, but with this configuration, which is to be timed."""
        answers = Answers(self.known)
        answers._forced[str(question)] = configuration
        return answers

    def configuration(self, question: Question) -> Configuration | None:
        """None where nothing was measured, or what was is none of this version's candidates."""
        if not self.known and not self._forced:
            return None
        text = str(question)
        if text in self._forced:
            return self._forced[text]
        answer = self.known.get(text)
        if answer is None:
            return None
        for c in question.alternatives(any_bits=answer.any_bits):
            if described(c) == answer.timings[0].configuration:
                return c
        warn_once(f"a tuned choice for {question.operation} is none of this version's candidates: it is passed over")
        return None
