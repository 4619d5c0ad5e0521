"""How this engine's functions are compiled: at their first call, without the interpreter lock, kept on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

from ... import jit
from ..._files import distrusted
from ..._notices import logger, warn_once
from ..dtypes import accumulation_dtype, is_float

F = TypeVar("F", bound=Callable[..., Any])

REGROUPED = {"contract", "reassoc", "nsz"}
"""Sums may be regrouped, once, by the compiler; NaN and infinities are kept."""
COPIED = 8 << 20  # bytes
_HALVES = "eE"  # float16 and bfloat16


def compiled(function: F) -> F:
    """Without counts of references to arrays, which threads hand to and fro and which take a tenth of the time of
    depthwise 384,14 on one thread. So it makes no array."""
    return _made(function, _nrt=False)


def allocating(function: F) -> F:
    """Compiled, and makes arrays, or returns views of them."""
    return _made(function, _nrt=True)  # else it takes this from whoever calls it first


def regrouped(function: F) -> F:
    """Compiled so that its sums become vectors of sums."""
    return _made(function, fastmath=REGROUPED, _nrt=False)


def inlined(function: F) -> F:
    """Compiled as a part of its callers: handing a short line to a function takes longer than the line does."""
    return _made(function, inline="always")


def _made(function: F, **options: Any) -> F:
    make = partial(njit, nogil=True, error_model="numpy", **options)
    try:
        kept = make(cache=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        return cast(F, make()(function))
    file = kept._cache._cache_file  # Numba's own stamp is that of the function's file, whatever it calls from others,
    file._version = (file._version, *_sources())  # and it is compared after classes are read that may be gone
    return cast(F, kept if _trusted(Path(kept.stats.cache_path), function) else make()(function))


@cache
def _sources() -> tuple[tuple[str, int, int], ...]:
    """Every file of compiled loops as it is now: what is on disk was compiled from these, or is compiled again."""
    kernels = Path(__file__).parents[1]
    files = [file for pattern in ("jit/*.py", "*/jit.py", "*/*_loops.py") for file in kernels.glob(pattern)]
    found = [(file, file.stat()) for file in sorted(files)]
    return tuple((str(file.relative_to(kernels)), status.st_mtime_ns, status.st_size) for file, status in found)


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
    return not [a for a in arrays if a is not None and (a.dtype.char not in "fd" or a.size == 0)]


def contiguous(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays as compiled loops take them, in float32 where they are of 16 bits. Those with gaps are copied, so that
    no bit of a result depends on where its inputs lay."""
    return tuple([a if is_ready(a) else _writable(np.require(a, wide(a.dtype), ["C", "A"])) for a in arrays])


def wide(dtype: np.dtype) -> np.dtype:
    """What loops compute in; of taps, their own dtype."""
    return accumulation_dtype(dtype) if is_float(dtype) else dtype


def is_ready(a: np.ndarray) -> bool:
    """Whether loops take this array as it is."""
    return a.flags.carray and a.dtype.char not in _HALVES


def over_images(work: Callable[..., None], inputs: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...]) -> None:
    """work(*inputs, *outputs) for images whose results do not depend on each other: for all at once, or, of
    arrays that must be copied, for some at a time. Outputs of 16 bits are rounded once."""
    if all(map(is_ready, inputs)) and all(map(is_ready, outputs)):
        work(*inputs, *outputs)
        return
    copied = sum(a.nbytes for a in (*inputs, *outputs) if not is_ready(a))
    n = len(inputs[0])
    step = max(1, COPIED * n // copied)
    for some in [slice(start, min(n, start + step)) for start in range(0, n, step)]:
        results = [a[some] if is_ready(a) else np.zeros(a[some].shape, wide(a.dtype)) for a in outputs]
        work(*contiguous(*(a[some] for a in inputs)), *results)
        with np.errstate(all="ignore"):
            for a, result in zip(outputs, results, strict=True):
                if not is_ready(a):
                    a[some] = result


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
        own = str(function.__module__).startswith(__name__.partition(".kernels")[0])  # others' may be None
        if own and not self._waiting:
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
