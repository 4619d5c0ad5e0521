"""Blocks of work on a few Python threads, with BLAS kept to one thread in each, and every thread's working memory.

NumPy copies on one thread, BLAS multiplies on many. Running whole blocks (copy, then product) on Python threads
keeps all cores busy in both; NumPy and BLAS release the interpreter lock meanwhile. Which thread runs a block never
shows in the result: blocks are cut by shape alone, and inside a block BLAS has one thread.

An interrupt or a signal handler may come between any two bytecodes of the main thread, and a handler may call `run`.
So nothing here waits for a lock that such a call could hold, every state is right at every moment, and a worker, which
no signal reaches, looks after itself. A call does without workers that are busy or cannot be started.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from _thread import start_new_thread  # Thread.start takes a lock that a signal handler could meet
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from functools import lru_cache
from importlib import import_module
from itertools import accumulate
from queue import SimpleQueue
from typing import Any

import numpy as np

SCRATCH_LIMIT = 48 << 20  # bytes, all threads together; and what one thread keeps from call to call
PATIENCE = 1.0  # seconds
SMALL_PRODUCT, SMALL_MATRIX = 1 << 18, 9216  # multiply-adds
TURNS = 128  # of about a microsecond that a call waits awake for its last worker: to be woken takes some forty


def run(work: Callable[..., Any], blocks: Sequence[Any], scratch: int = 0, alone: bool = False) -> None:
    """Call work(*block) for every block, in any order and on several threads; `scratch`: bytes each thread needs.

    alone: BLAS has one thread in every block without being told so (is_small), which a single block need not wait for.
    Where blocks raise, the error of the first of them is raised when no other is running any more.
    """
    if alone and len(blocks) == 1:
        copy_context().run(_do, work, blocks[0])
        return
    call = _Call(work, blocks)
    try:
        try:
            with call.inside:
                threads = _limit_blas(call)
                if len(blocks) == 1:
                    copy_context().run(_do, work, blocks[0])
                    return
                call.share(min(threads, len(blocks), max(1, SCRATCH_LIMIT // max(1, scratch))) - 1, threads)
        finally:
            _free_blas()
    except BaseException:
        _free_blas()  # an interrupt may have cut short the first
        raise


def is_small(m: int, k: int, n: int) -> bool:
    """Whether OpenBLAS keeps an (m, k) by (k, n) product to one thread (its interface/gemm.c and gemv.c)."""
    return m * k * n <= (SMALL_PRODUCT if min(m, n) > 1 else SMALL_MATRIX)


def _do(work: Callable[..., Any], block: Sequence[Any]) -> None:
    """One block, in a context of its own, which forgets the error state and the buffer."""
    with np.errstate(all="ignore"):
        buffer = _take_buffer()
        work(*block)
        _keep_buffer(buffer)


class _Call:
    """A call of `run`: the blocks that are left, the errors of those that failed, and the workers' parts in it."""

    def __init__(self, work: Callable[..., Any], blocks: Sequence[Any]) -> None:
        self.work, self.todo = work, deque(enumerate(blocks))
        self.errors: list[tuple[int, BaseException]] = []
        self.parts: list[_Part] = []
        self.thread = threading.get_ident()
        self.inside = threading.Lock()  # held while the call runs: no interrupt can keep `with` from giving it back

    def share(self, helpers: int, most: int) -> None:
        workers = _workers_for(helpers, most) if helpers > 0 else []
        self.parts = [_Part(self) for _ in workers]
        try:
            for worker, part in zip(workers, self.parts, strict=True):
                worker.mail.put(part)
            copy_context().run(self.drain, Exception)
        finally:
            self.todo.clear()
            for part in self.parts:
                part.end()
        self.parts.clear()  # which hold this call
        if self.errors:
            try:
                raise min(self.errors, key=lambda error: error[0])[1]
            finally:
                self.errors.clear()  # whose tracebacks lead here and to the call's arrays

    def drain(self, caught: type[BaseException]) -> None:
        """Do blocks until none is left, in a context of its own, which forgets the error state and the buffer."""
        with np.errstate(all="ignore"):
            buffer = _take_buffer()
            while self.todo:
                try:
                    place, block = self.todo.popleft()
                except IndexError:  # another thread took the last
                    break
                try:
                    self.work(*block)
                except caught as error:
                    self.errors.append((place, error))
                    self.todo.clear()
            _keep_buffer(buffer)

    def forked(self) -> None:
        """In a child that goes on with its parent's call: the parts that the parent's workers had begun are lost."""
        for part in self.parts:
            if not part.claimed.acquire(blocking=False) and part.running.locked():
                self.errors.append((-1, RuntimeError("the process was forked inside this call, which cannot go on")))
            if part.running.locked():
                part.running.release()


class _Part:
    """What one worker does of a call, if it comes to it before the call ends."""

    def __init__(self, call: _Call) -> None:
        self.drain, self.context = call.drain, copy_context()
        self.claimed, self.running = threading.Lock(), threading.Lock()
        self.running.acquire()

    def run(self) -> None:
        if self.claimed.acquire(blocking=False):
            try:
                self.context.run(self.drain, BaseException)
            finally:
                self.running.release()

    def end(self) -> None:
        """Wait for the worker, unless it is still asleep: then it is not to begin."""
        if self.claimed.acquire(blocking=False):
            self.running.release()
            return
        for _ in range(TURNS):
            if self.running.acquire(blocking=False):
                return
            _give_turn()
        self.running.acquire()


class _Worker:
    """A thread that waits for parts; it ends with the process."""

    def __init__(self) -> None:
        self.mail: SimpleQueue[_Part | None] = SimpleQueue()
        self.busy = False

    def serve(self) -> None:
        while (part := self.mail.get()) is not None:
            self.busy = True
            part.run()
            del part  # and with it the call's arrays
            self.busy = False


_give_turn: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))  # Windows has none
_workers: list[_Worker] = []


def _workers_for(helpers: int, most: int) -> list[_Worker]:
    """At most `helpers` workers that are idle; more are started where all are fewer than `most` threads."""
    found = [worker for worker in list(_workers) if not worker.busy][:helpers]
    if len(found) == helpers or len(_workers) >= most - 1:
        return found
    with _turn():
        while len(found) < helpers and len(_workers) < most - 1:
            worker = _Worker()
            try:
                _workers.append(worker)
                start_new_thread(worker.serve, ())
            except BaseException as error:  # RuntimeError: no more threads, or the interpreter is shutting down
                _workers.remove(worker)
                worker.mail.put(None)
                if isinstance(error, RuntimeError):
                    break
                raise
            found.append(worker)
    return found


def _find_blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The thread count getter and setter of the OpenBLAS that NumPy is linked with, or None for another BLAS."""
    try:
        extension = import_module("numpy._core._multiarray_umath")
        linked = ctypes.PyDLL(extension.__file__ or "")  # its symbols and those of what it links
    except (ImportError, OSError):
        return None
    for name in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
        if hasattr(linked, name.format("set")):
            return getattr(linked, name.format("get")), getattr(linked, name.format("set"))
    return None


_blas = _find_blas()
_limiting: dict[_Call, None] = {}  # the calls that keep BLAS to one thread
_before = 1  # how many threads it had before them
_lock = threading.RLock()


def count() -> int:
    """Threads a call may use: as many as BLAS is set to (OPENBLAS_NUM_THREADS, threadpoolctl; by default the cores).

    1 where NumPy's BLAS is not OpenBLAS: its threads cannot be kept from ours, so they alone do the work.
    """
    with _turn():
        return max(_before, _blas[0]()) if _blas else 1


def _limit_blas(call: _Call) -> int:
    """BLAS has one thread until `call` ends; gives how many it had. Calls nest and overlap."""
    global _before
    if not _blas:
        return 1
    get, set_to = _blas
    with _turn():
        _limiting[call] = None
        found = get()
        if found > 1:  # the first call, or somebody else has changed it
            _before = found
            set_to(1)
        return _before


def _free_blas() -> None:
    """BLAS has its threads again if no call runs, unless somebody else has changed them."""
    global _before
    if not _blas:
        return
    get, set_to = _blas
    with _turn():
        for call in list(_limiting):  # another's may be among them, where interrupts kept it from getting here
            if not call.inside.locked():
                _limiting.pop(call, None)
        before = _before  # a signal handler's call may set it to 1
        if not _limiting:
            if get() == 1:
                set_to(before)
            _before = 1


def _turn() -> AbstractContextManager[Any]:
    """One thread at a time, and a signal handler inside that thread."""
    return _lock if threading.get_ident() == threading.main_thread().ident else _patient_turn()


@contextmanager
def _patient_turn() -> Iterator[None]:
    """A signal handler inside the main thread's turn may be waiting for this thread, which then goes on."""
    lock = _lock
    got = lock.acquire(timeout=PATIENCE)
    try:
        yield
    finally:
        if got:
            lock.release()


def _forget_parent() -> None:
    """A forked child has none of its parent's threads, and of its calls only those around the fork."""
    global _lock
    _lock = threading.RLock()
    _workers.clear()
    for call in list(_limiting):
        if call.thread == threading.get_ident():
            call.forked()
        else:
            del _limiting[call]
    _free_blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


_NONE = np.empty(0, np.uint8)


class _Kept(threading.local):
    """A thread's working memory between its calls. A call inside another finds it taken, and has one of its own."""

    bytes = _NONE


_kept = _Kept()
_taken: ContextVar[list[np.ndarray]] = ContextVar("backstride_buffer")  # of the call that runs here


def _take_buffer() -> list[np.ndarray]:
    buffer = [_kept.bytes]
    _kept.bytes = _NONE
    _taken.set(buffer)
    return buffer


def _keep_buffer(buffer: list[np.ndarray]) -> None:
    if buffer[0].nbytes <= SCRATCH_LIMIT:
        _kept.bytes = buffer[0]


def scratch(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Uninitialised arrays in this thread's working memory, inside a block of `run`; the next block gets them again."""
    starts, total = _layout(dtype.itemsize, shapes)
    buffer = _taken.get()
    if buffer[0].nbytes < total:
        buffer[0] = _NONE
        buffer[0] = np.empty(total, np.uint8)
    return [np.ndarray(shape, dtype, buffer[0], start) for shape, start in zip(shapes, starts, strict=True)]


@lru_cache(1024)
def _layout(itemsize: int, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[int], int]:
    """Where arrays of these shapes start in one buffer, each on a cache line (64 bytes), and its size."""
    sizes = [-(-math.prod(shape) * itemsize // 64) * 64 for shape in shapes]
    starts = list(accumulate(sizes, initial=0))
    return starts[:-1], starts[-1]
