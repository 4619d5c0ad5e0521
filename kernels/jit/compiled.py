"""How this engine's functions are compiled: at their first call, without the interpreter lock, kept on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

from ... import jit
from ..._files import distrusted
from ..._notices import logger, warn_once

F = TypeVar("F", bound=Callable[..., Any])

REGROUPED = {"contract", "reassoc", "nsz"}
"""Sums may be regrouped, once, by the compiler; NaN and infinities are kept."""
COPIED = 8 << 20  # bytes


def compiled(function: F) -> F:
    return _made(function)


def regrouped(function: F) -> F:
    """Compiled so that its sums become vectors of sums."""
    return _made(function, fastmath=REGROUPED)


def _made(function: F, **options: Any) -> F:
    make = partial(njit, nogil=True, error_model="numpy", **options)
    try:
        kept = make(cache=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        return cast(F, make()(function))
    return cast(F, kept if _trusted(Path(kept.stats.cache_path), function) else make()(function))


def _trusted(folder: Path, function: Any) -> bool:
    """Whether what Numba unpickles comes from a folder as good as the function's own, or from one of this user."""
    if folder == Path(function.__code__.co_filename).parent / "__pycache__":
        return True
    reason = distrusted(folder)
    if reason is not None:
        warn_once(f"compiled loops in {folder} are passed over: {reason}")
    return reason is None


def suits(*arrays: np.ndarray | None) -> bool:
    """Whether compiled loops read these arrays: float32 or float64, and not empty."""
    return all(a is None or (a.dtype.char in "fd" and a.size > 0) for a in arrays)


def contiguous(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays with gaps are copied, so that no bit of a result depends on where its inputs lay."""
    return tuple(map(_writable, map(np.ascontiguousarray, arrays)))


def pieces(a: np.ndarray) -> list[slice]:
    """Images whose results do not depend on each other: all of a contiguous array's, of another as many as may be
    copied at a time."""
    step = max(1, len(a) if a.flags.c_contiguous else COPIED * len(a) // a.nbytes)
    return [slice(start, min(len(a), start + step)) for start in range(0, len(a), step)]


def _writable(a: np.ndarray) -> np.ndarray:
    """The same memory: to Numba a read-only array is another type, for which all would be compiled once more."""
    return a if a.flags.writeable else np.asarray(_Memory(a))


class _Memory:
    def __init__(self, a: np.ndarray) -> None:
        self.owner = a
        interface = dict(a.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


class _Told(event.Listener, threading.local):
    """Tells who waits for long what is compiled; a function's own functions are compiled inside it."""

    def __init__(self) -> None:
        self._waiting: list[threading.Timer] = []

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        timer = threading.Timer(jit.PATIENCE, _tell, (f"{function.__module__}.{function.__name__}",))
        timer.daemon = True
        if not self._waiting and function.__module__.startswith(__name__.partition(".kernels")[0]):
            timer.start()
        self._waiting.append(timer)

    def on_end(self, event: Any) -> None:
        self._waiting.pop().cancel()


def _tell(name: str) -> None:
    logger.info("compiling %s for this processor, once: it is kept for the next run", name)


event.register("numba:compile", _Told())
if hasattr(os, "register_at_fork"):  # a child must not meet the lock of a compiler that went on in its parent
    release = global_compiler_lock.release
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=release, after_in_child=release)
