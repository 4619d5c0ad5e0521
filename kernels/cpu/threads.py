"""Blocks of work on a few Python threads, with BLAS kept to one thread in each, and every thread's working memory.

NumPy copies on one thread, BLAS multiplies on many. Running whole blocks (copy, then product) on Python threads
keeps all cores busy in both; NumPy and BLAS release the interpreter lock meanwhile. Which thread runs a block never
shows in the result: blocks are cut by shape alone, and inside a block BLAS has one thread.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from typing import Any

import numpy as np

SCRATCH_LIMIT = 48 << 20  # bytes, all threads together

_lock = threading.Lock()
_running = 0
_threads = 1
_pool: ThreadPoolExecutor | None = None


def _find_blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The thread count getter and setter of the OpenBLAS that NumPy is linked with, or None for another BLAS."""
    try:
        extension = import_module("numpy._core._multiarray_umath")
        linked = ctypes.CDLL(extension.__file__ or "")  # its symbols and those of what it links
    except (ImportError, OSError):
        return None
    for name in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
        if hasattr(linked, name.format("set")):
            return getattr(linked, name.format("get")), getattr(linked, name.format("set"))
    return None


_blas = _find_blas()


def count() -> int:
    """Threads a call may use: as many as BLAS is set to (OPENBLAS_NUM_THREADS, threadpoolctl; by default the cores).

    1 where NumPy's BLAS is not OpenBLAS: its threads cannot be kept from ours, so they alone do the work.
    """
    with _lock:
        return _threads if _running else _blas[0]() if _blas else 1


class _BlasOnOneThread:
    """Keeps BLAS to one thread inside; gives how many it had. Calls nest and overlap; the last to leave restores."""

    def __enter__(self) -> int:
        global _running, _threads
        with _lock:
            if _running == 0 and _blas:
                _threads = _blas[0]()
                _blas[1](1)
            _running += 1
            return _threads

    def __exit__(self, *_: object) -> None:
        global _running
        with _lock:
            _running -= 1
            if _running == 0 and _blas:
                _blas[1](_threads)


def run(work: Callable[..., Any], blocks: Sequence[Any], scratch: int = 0) -> None:
    """Call work(*block) for every block, in any order and on several threads; `scratch`: bytes each thread needs."""
    with np.errstate(all="ignore"), _BlasOnOneThread() as threads:
        helpers = min(threads, len(blocks), max(1, SCRATCH_LIMIT // max(1, scratch))) - 1
        if helpers <= 0:
            for block in blocks:
                work(*block)
            return
        todo = deque(blocks)
        futures = [_executor(threads).submit(copy_context().run, _drain, work, todo) for _ in range(helpers)]
        try:
            _drain(work, todo)
        finally:
            todo.clear()
            started = [future for future in futures if not future.cancel()]  # a thread still asleep is not waited for
            wait(started)
        for future in started:
            future.result()


def _drain(work: Callable[..., Any], todo: deque[Any]) -> None:
    while True:
        try:
            block = todo.popleft()
        except IndexError:
            return
        work(*block)


def _executor(threads: int) -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(threads, os.cpu_count() or 1), "backstride")
    return _pool


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


class _Scratch(threading.local):
    buffer = np.empty(0, np.uint8)


_scratch = _Scratch()


def scratch(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Uninitialised arrays in this thread's working memory; the next call on this thread hands it out again."""
    starts, total = _layout(dtype.itemsize, shapes)
    if _scratch.buffer.nbytes < total:
        _scratch.buffer = np.empty(0, np.uint8)
        _scratch.buffer = np.empty(total, np.uint8)
    buffer = _scratch.buffer
    return [np.ndarray(shape, dtype, buffer, start) for shape, start in zip(shapes, starts, strict=True)]


@lru_cache(1024)
def _layout(itemsize: int, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[int], int]:
    """Where arrays of these shapes start in one buffer, each on a cache line (64 bytes), and its size."""
    sizes = [-(-math.prod(shape) * itemsize // 64) * 64 for shape in shapes]
    starts = list(accumulate(sizes, initial=0))
    return starts[:-1], starts[-1]
