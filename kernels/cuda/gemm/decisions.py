"""What the selection model decides during a call, for those who show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from .configuration import Configuration
from .tuned import Question


@dataclass
class Decisions:
    """The configurations of the products that were launched, and the questions that were asked."""

    configurations: list[Configuration] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


_recorder: ContextVar[Decisions | None] = ContextVar("backstride_decisions", default=None)


@contextmanager
def recorded() -> Iterator[Decisions]:
    """Record the decisions of the calls inside the with block."""
    decisions = Decisions()
    token = _recorder.set(decisions)
    try:
        yield decisions
    finally:
        _recorder.reset(token)


def record_configuration(chosen: Configuration) -> None:
    recorder = _recorder.get()
    if recorder is not None:
        recorder.configurations.append(chosen)


def record_question(question: Question) -> None:
    recorder = _recorder.get()
    if recorder is not None:
        recorder.questions.append(question)
