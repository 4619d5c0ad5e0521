"""Signals that ask a training to stop: it ends its epoch and saves what it was asked to save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NAMES: dict[int, str] = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupt:
    """What has been asked for so far; `name` and `status` tell of the first signal."""

    requested = False
    name = ""
    status = 0
    """The exit status of a program that the signal ended."""


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C or SIGTERM asks for a stop at the end of the epoch; another one of its kind stops at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield interrupt
        return

    def on_first(number: int, _: Any) -> None:
        if not interrupt.requested:
            interrupt.requested, interrupt.name, interrupt.status = True, _NAMES[number], 128 + number
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in _NAMES}
    for number in _NAMES:
        signal.signal(number, on_first)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
