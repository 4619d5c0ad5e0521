"""Signals that ask a training to stop: it ends its step or epoch and saves what it was asked to save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupt:
    """The first signal that came: its number, 0 before."""

    number = 0

    @property
    def name(self) -> str:
        return _NAMES[self.number]

    @property
    def status(self) -> int:
        """The exit status of a program that the signal ended."""
        return 128 + self.number


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C or SIGTERM asks for a stop; another one of its kind stops at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield interrupt
        return

    def on_first(number: int, _: Any) -> None:
        interrupt.number = interrupt.number or number
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in _NAMES}
    for number in _NAMES:
        signal.signal(number, on_first)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
