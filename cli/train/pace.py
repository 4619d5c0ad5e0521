"""How much of the processes' time goes into training, and how much into what one process alone would not have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...backend import get_backend, synchronize

_MEASURED = 16
"""Of several processes on devices one step in so many is measured: it is waited for, which others are not."""


class Pace:
    """Seconds of this process in the steps that were measured, and of them those in which it exchanged gradients with
    the others or waited for them."""

    def __init__(self, processes: int) -> None:
        self.seconds = self.waiting = 0.0
        self._processes, self._every = processes, 1 if get_backend() == "numpy" else _MEASURED
        self._measures = False

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        self._measures = self._processes > 1 and number % self._every == 0
        begun = self._now()
        yield
        self.seconds += self._now() - begun

    @contextmanager
    def exchange(self) -> Iterator[None]:
        begun = self._now()
        yield
        self.waiting += self._now() - begun

    def _now(self) -> float:
        if not self._measures:
            return 0.0
        synchronize()
        return time.perf_counter()


def efficiency(paces: list[tuple[float, float]]) -> float:
    """Of the (seconds, waiting) of all processes: the part of their time that one process alone would have needed as
    well, where it computes as fast as each of them. 1 is ideal."""
    seconds, waiting = map(sum, zip(*paces, strict=True))
    return 1 - waiting / seconds if seconds else 1.0
