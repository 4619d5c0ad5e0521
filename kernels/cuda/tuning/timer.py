"""Seconds of device work, by CUDA events, of calls whose data no cache holds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from ....backend import import_cupy

Call = Callable[[], Any]
Name = TypeVar("Name", bound=Hashable)

SPREAD = 0.005
ROUNDS = 5, 60
"""The least and the most."""

_HOPELESS = 1.25
"""Times the fastest one's seconds, after the least rounds: not worth another one."""


class EventTimer:
    """The mean of some calls, a pair of events each. The level-2 cache is overwritten before each: while that runs, the
    host queues the call, so that no launch latency is in the device's time."""

    def __init__(self) -> None:
        self.cuda = import_cupy().cuda
        cache = self.cuda.Device().attributes["L2CacheSize"]
        self.flush = import_cupy().empty(max(4 * cache, 1 << 28), dtype=np.uint8)

    def __call__(self, call: Call, repeats: int = 1) -> float:
        pairs = [(self.cuda.Event(), self.cuda.Event()) for _ in range(repeats)]
        for before, after in pairs:
            self.flush.fill(0)
            before.record()
            call()
            after.record()
        pairs[-1][1].synchronize()
        return 1e-3 * sum(float(self.cuda.get_elapsed_time(*pair)) for pair in pairs) / repeats


def fastest_first(calls: Mapping[Name, Call], timer: Callable[[Call], float]) -> list[tuple[Name, float]]:
    """The calls and their median seconds. They take turns, so that what slows the GPU for a while slows all, until the
    spread of those that may yet be the fastest is below 0.5%."""
    samples: dict[Name, list[float]] = {name: [] for name in calls}
    racing = set(calls)
    for turn in range(1, ROUNDS[1] + 1):
        for name in [name for name in calls if name in racing]:
            samples[name].append(timer(calls[name]))
        if turn >= ROUNDS[0]:
            best = min(map(statistics.median, samples.values()))
            racing = {name for name in racing if statistics.median(samples[name]) <= _HOPELESS * best}
            if all(spread(samples[name]) <= SPREAD for name in racing):
                break
    return sorted(((name, statistics.median(seconds)) for name, seconds in samples.items()), key=lambda each: each[1])


def spread(seconds: list[float]) -> float:
    """How far the median of so many may be off: half of their middle half's width, by the root of their number."""
    lower, middle, upper = statistics.quantiles(seconds, n=4)
    return (upper - lower) / 2 / len(seconds) ** 0.5 / middle
