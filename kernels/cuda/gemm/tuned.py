"""What was measured to be the fastest on this GPU, configurations and direct kernels: answers that go before the
model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ...._notices import warn_once
from .choice import alternatives, choose, direct_seconds, product_seconds
from .configuration import Architecture, Configuration, Direct, Product, WeightHaloConfiguration

Choice: TypeAlias = Configuration | Direct


@dataclass(frozen=True)
class Estimates:
    """Seconds that a direct kernel would take, and the fastest product that would do the same."""

    direct: float
    product: float


class Question(NamedTuple):
    """A product that is about to be launched. Its text is what a file of answers knows it by."""

    operation: str
    product: Product
    dtype: str
    architecture: Architecture
    precision: str
    one: Product | None
    """The same of one image, where that alone decides the bits."""
    direct: Direct | None = None
    """The kernel that computes the same without a product, where there is one; of one image too."""

    def estimates(self) -> Estimates:
        """By the model, of a direct kernel and the product."""
        assert self.direct is not None
        on = self.dtype, self.architecture, self.precision
        return Estimates(direct_seconds(self.direct, *on), product_seconds(self.one or self.product, *on))

    def modelled(self) -> Choice:
        """A direct kernel goes before a product that is estimated to take as long: a product's tile has at least 16
        columns, however few there are to fill it, and fetches its operands for each tap; but tensor cores multiply
        faster than FFMA, which is all that a direct kernel has."""
        if self.direct is not None:
            estimates = self.estimates()
            if estimates.direct <= estimates.product:
                return self.direct
        return choose(self.product, self.dtype, self.architecture, self.precision, self.one)

    def alternatives(self, *, any_bits: bool) -> list[Choice]:
        """All that compute the same; unless any_bits, those that sum it up as the model's choice does. So do all where
        one image decides the bits: another batch may have another winner."""
        found: list[Choice] = [self.direct] if self.direct else []
        found += alternatives(self.product, self.dtype, self.architecture, self.precision, self.one)
        summation = self.modelled().summation
        return [c for c in found if (any_bits and self.one is None) or c.summation == summation]


def described(c: Choice) -> dict[str, Any]:
    """What tells a configuration from the others of its product, or a direct kernel from them."""
    if isinstance(c, Direct):
        return {"direct": c.kernel}
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
        self._forced: dict[str, Choice] = {}

    def with_answer(self, question: Question, answer: Answer) -> Answers:
        return Answers({**self.known, str(question): answer})

    def forcing(self, question: Question, choice: Choice) -> Answers:
        """As these, but with this choice, which is to be timed."""
        answers = Answers(self.known)
        answers._forced[str(question)] = choice
        return answers

    def choice(self, question: Question) -> Choice | None:
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
