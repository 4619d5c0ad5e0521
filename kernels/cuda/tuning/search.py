"""From a call to the fastest configuration of each product in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ....backend import import_cupy
from ....batch_invariance import get_batch_invariant
from ....precision import get_float32_precision
from ..gemm.tuned import Answer, Answers, Choice, Question, Timed, described
from ..offline.ahead import compile_variants, current_device
from ..offline.dryrun import dry_run
from ..runtime.answers import answering
from .timer import Call, EventTimer, fastest_first

WORTH = 0.005
"""What a configuration must gain to go before the model's."""

Compute = Callable[..., Any]
Arguments = tuple[Any, ...]


class Search:
    """Times the candidates of products that it has not met; `answers` is what it knows.

    any_bits: candidates may sum up in another order than the model's choice, so that a result's bits change.
    """

    def __init__(self, answers: Answers, *, any_bits: bool = False) -> None:
        self.answers = answers
        self.any_bits = any_bits
        self._met: set[Any] = set()
        self._timer: Callable[[Call], float] | None = None

    def tune(
        self, compute: Compute, arguments: Arguments, copies: Callable[[], Sequence[Arguments]]
    ) -> dict[Question, Answer]:
        """What is new of a path function's call. Of `arguments` shapes are read; `copies` are timed, in turn."""
        met = self._meeting(compute, arguments)
        if met in self._met:
            return {}
        self._met.add(met)
        with answering(Answers(self.answers.known)):
            questions = dry_run(compute, arguments, current_device()).decisions.questions
        new = [question for question in dict.fromkeys(questions) if str(question) not in self.answers.known]
        calls, found = copies() if new else [], {}
        for question in new:
            found[question] = self._time(question, compute, calls)
            self.answers = self.answers.with_answer(question, found[question])
        return found

    def _time(self, question: Question, compute: Compute, calls: Sequence[Arguments]) -> Answer:
        candidates = question.alternatives(any_bits=self.any_bits)
        forced = {c: self.answers.forcing(question, c) for c in candidates}
        compile_variants(compute, calls[0], [partial(answering, each) for each in forced.values()])
        if self._timer is None:
            self._timer = EventTimer()
        racing = {c: _in_turn(compute, calls, each) for c, each in forced.items()}
        timed = dict(fastest_first({c: call for c, call in racing.items() if _runs(call)}, self._timer))
        return Answer(_worth_it(timed, question.modelled()), self.any_bits)

    def _meeting(self, compute: Compute, arguments: Arguments) -> tuple[Any, ...]:
        """All that the questions of a call depend on."""
        shapes = tuple((a.shape, a.dtype) if hasattr(a, "dtype") else a for a in arguments)
        device = import_cupy().cuda.runtime.getDevice()
        return compute, shapes, device, get_float32_precision(), get_batch_invariant()


def _in_turn(compute: Compute, calls: Sequence[Arguments], answers: Answers) -> Call:
    """The calls one after the other, at each call the next, by these answers."""
    turn = iter(range(1 << 62))

    def call() -> None:
        with answering(answers):
            compute(*calls[next(turn) % len(calls)])

    return call


def _runs(call: Call) -> bool:
    """Whether there is memory for a candidate's partial sums; and its kernel is loaded then."""
    with suppress(MemoryError):
        call()
        return True
    return False


def _worth_it(timed: dict[Choice, float], modelled: Choice) -> tuple[Timed, ...]:
    """The fastest first; the model's, where that is as good."""
    order = list(timed)
    if modelled in timed and timed[modelled] <= timed[order[0]] * (1 + WORTH):
        order.remove(modelled)
        order.insert(0, modelled)
    return tuple(Timed(described(c), timed[c]) for c in order)
