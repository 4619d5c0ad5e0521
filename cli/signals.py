"""SIGTERM, which a cluster sends before it kills, stops a command as Ctrl-C does: what it has done is not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """That of a program which the signal ended."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Inside the with block SIGTERM raises Terminated in the main thread, where signals can be handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
