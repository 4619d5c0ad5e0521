"""Which tuned choices are in force (gemm/tuned.py): those of a with block, else those of the file that the environment
variable BACKSTRIDE_TUNE_FILE names, which is read at first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from ....backend import import_cupy

if TYPE_CHECKING:
    from ..gemm.tuned import Answers

_context: ContextVar[Answers | None] = ContextVar("backstride_tuned", default=None)


def in_force() -> Answers:
    return _context.get() or of_process(getattr(import_cupy(), "compiles", True))


@cache
def of_process(on_device: bool) -> Answers:
    """on_device: not in a dry run, which knows no driver."""
    from ..tuning.file import of_environment

    return of_environment(on_device)


@contextmanager
def answering(answers: Answers) -> Iterator[None]:
    """Answer by these inside a with block, for this thread or async task only."""
    token = _context.set(answers)
    try:
        yield
    finally:
        _context.reset(token)
