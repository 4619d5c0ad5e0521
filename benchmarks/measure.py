"""Timing: the contestants take turns (A B A B ...), so that what slows the machine for a while slows each of them.

Round i of one contestant and round i of another are a pair; figures that compare are made pair by pair.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .. import backend, kernels
from ..kernels.cpu import threads
from ..kernels.cuda.tuning.timer import EventTimer
from .cases import Call

SHORTEST_SAMPLE = 2e-3
"""Seconds one sample lasts at least: short calls are repeated, so that the clock and the first call's misses vanish."""

SETTLING = 50e-3
"""Seconds a contestant runs before its sample: the one before it left its data in the caches, and its OpenMP workers
spin for tens of milliseconds before they sleep, on a core that the next contestant needs."""


@dataclass(frozen=True)
class Contestant:
    name: str
    call: Call
    scope: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext


@dataclass
class Timing:
    """Seconds per call, one entry a round: from the call to its result, and (CUDA) what the device worked."""

    seconds: list[float] = field(default_factory=list)
    device_seconds: list[float] = field(default_factory=list)

    @property
    def decisive(self) -> list[float]:
        """The series that ratios and rates are made of: device time where there is one."""
        return self.device_seconds or self.seconds


class Timer(Protocol):
    def sample(self, call: Call, repeats: int) -> tuple[float, float | None]:
        """Mean seconds per call over `repeats` calls: end to end, and on the device."""


class HostTimer:
    def sample(self, call: Call, repeats: int) -> tuple[float, float | None]:
        settled = time.perf_counter() + SETTLING
        call()
        while time.perf_counter() < settled:
            call()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats, None


class CudaTimer:
    """End to end is the host's clock with the device synchronised in each call; device time is by CUDA events."""

    def __init__(self) -> None:
        self.on_device = EventTimer()

    def sample(self, call: Call, repeats: int) -> tuple[float, float | None]:
        synchronize = backend.import_cupy().cuda.runtime.deviceSynchronize
        call()
        synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
            synchronize()
        seconds = (time.perf_counter() - start) / repeats
        return seconds, self.on_device(call, repeats)


def make_timer() -> Timer:
    return CudaTimer() if backend.get_backend() == "cupy" else HostTimer()


def interleave(
    contestants: Sequence[Contestant], timer: Timer, seconds: float, rounds: tuple[int, int] = (5, 60)
) -> dict[str, Timing]:
    """Time the contestants in turn for about `seconds` altogether, within the least and the most rounds."""
    repeats, cost = {}, 0.0
    for contestant in contestants:
        with contestant.scope():
            once, _ = timer.sample(contestant.call, 1)
        repeats[contestant.name] = max(1, math.ceil(SHORTEST_SAMPLE / once))
        cost += repeats[contestant.name] * once + max(once, SETTLING)
    timings = {contestant.name: Timing() for contestant in contestants}
    for _ in range(max(rounds[0], min(rounds[1], int(seconds / cost)))):
        for contestant in contestants:
            with contestant.scope():
                host, device = timer.sample(contestant.call, repeats[contestant.name])
            timings[contestant.name].seconds.append(host)
            if device is not None:
                timings[contestant.name].device_seconds.append(device)
    return timings


@dataclass(frozen=True)
class Ceilings:
    """What this machine reached on the two loads that bound every kernel: operations and bytes per second."""

    flops: float
    bytes: float

    def floor(self, flops: int, moved: int) -> float:
        """The least seconds for that many operations and bytes: the roofline."""
        return max(flops / self.flops, moved / self.bytes)

    def memory_bound(self, flops: int, moved: int) -> bool:
        return moved / self.bytes > flops / self.flops


CEILING_LOADS = {"numpy": (2048, 1 << 27), "cupy": (8192, 1 << 30)}
"""By backend: rows and columns of the matrices that are multiplied, bytes that are copied."""


def has_matrix_product() -> bool:
    """Whether the array library multiplies matrices: CuPy without cuBLAS does not."""
    a = backend.asarray(np.ones((2, 2), np.float32))
    try:
        return bool((a @ a).all())
    except Exception:  # CuPy raises various kinds where the library is missing
        return False


def measure_ceilings(dtype: str, timer: Timer, seconds: float = 1.0) -> Ceilings:
    """The best of several large matrix products in `dtype` (16-bit on NumPy: float32), and of several large copies.

    The products are the array library's or, where it has none, ours.
    """
    on_gpu = backend.get_backend() == "cupy"
    extent, copied = CEILING_LOADS[backend.get_backend()]
    kind = dtype if on_gpu or dtype == "float64" else "float32"
    a = backend.asarray(np.random.default_rng(0).standard_normal((extent, extent), dtype=np.float32).astype(kind))
    source = backend.asarray(np.ones(copied, dtype=np.uint8))
    target = backend.asarray(np.ones(copied, dtype=np.uint8))
    product = Contestant("product", (lambda: a @ a) if has_matrix_product() else (lambda: kernels.linear(a, a)))
    if on_gpu:
        return _ceilings(extent, copied, product, lambda: target.__setitem__(slice(None), source), timer, seconds)
    with ThreadPoolExecutor(threads.count()) as pool:
        parts = list(zip(np.array_split(target, threads.count()), np.array_split(source, threads.count()), strict=True))
        return _ceilings(
            extent, copied, product, lambda: list(pool.map(lambda p: np.copyto(*p), parts)), timer, seconds
        )


def _ceilings(extent: int, copied: int, product: Contestant, copy: Call, timer: Timer, seconds: float) -> Ceilings:
    timings = interleave([product, Contestant("copy", copy)], timer, seconds)
    best_product, best_copy = (min(timings[name].decisive) for name in ("product", "copy"))
    return Ceilings(2 * extent**3 / best_product, 2 * copied / best_copy)
