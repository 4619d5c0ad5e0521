"""Compiling kernels before they are needed, many at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...._notices import logger, tell_of_compiling
from ....backend import import_cupy
from ...operation import CUDA, Operation, implementation
from ..runtime import cubins, nvrtc
from .dryrun import Device, Launch, dry_run

PathCall = tuple[Operation, tuple[Any, ...]]
"""An operation with a path function's arguments, of whose arrays only shape and dtype are read."""


def launches(call: PathCall, device: Device) -> list[Launch]:
    """What a call launches on this device."""
    operation, arguments = call
    return dry_run(implementation(operation, CUDA), arguments, device).launches


def current_device() -> Device:
    """The current device as a dry run takes it."""
    found = import_cupy().cuda.Device()
    return Device(int(found.compute_capability), found.attributes["MultiProcessorCount"])


def compile_ahead(calls: Iterable[PathCall]) -> None:
    """Compile the kernels of these calls for the current device, into CuPy's disk cache, on all processor cores.

    A call that cannot be made is passed over: it says itself what is wrong.
    """
    device = current_device()
    entries: dict[str, str] = {}
    for call in calls:
        with suppress(Exception):
            entries |= {launch.text: launch.entry for launch in launches(call, device)}
    _compile_here(entries)


def compile_variants(
    compute: Callable[..., Any], arguments: tuple[Any, ...], scopes: Iterable[Callable[[], AbstractContextManager[Any]]]
) -> None:
    """As compile_ahead, the kernels of one call of a path function in each of these scopes, which decide them."""
    device = current_device()
    entries: dict[str, str] = {}
    for scope in scopes:
        with scope():
            entries |= {launch.text: launch.entry for launch in dry_run(compute, arguments, device).launches}
    _compile_here(entries)


def _compile_here(entries: dict[str, str]) -> None:
    """Compile these CUDA texts, each with its entry point, for the current device, on all processor cores."""
    cupy = import_cupy()
    here = cupy.cuda.Device()

    def compile_one(text: str, entry: str) -> None:
        # a thread of the pool begins on device 0, and a module is loaded where it is made
        with suppress(Exception), here:
            cupy.RawModule(code=text, options=nvrtc.options(text)).get_function(entry)

    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_one, entries.keys(), entries.values()))
    tell_of_compiling(f"{len(entries)} kernels", time.monotonic() - begun)


@dataclass(frozen=True)
class Kept:
    """A kernel's file: whether it was there already, or the processor seconds that compiling it took."""

    file: Path
    sm: int
    seconds: float | None


def compile_into(where: Path, kernels: Iterable[tuple[int, str]]) -> Iterator[Kept]:
    """A cubin file in this folder for each kernel, a compute capability and a CUDA text; yielded as they are done.

    On all processor cores; what is there already is not compiled again. Raises nvrtc.CompilationError for a text that
    does not compile, OSError where a file cannot be written; what was done until then stays.
    """

    def keep(sm: int, text: str) -> Kept:
        file = cubins.find(text, sm, where)
        if file is not None:
            logger.debug(f"{file.name}: there already")
            return Kept(file, sm, None)
        begun = time.thread_time()
        cubin, _ = nvrtc.compiled(text, sm)
        kept = Kept(cubins.save(text, sm, cubin, where), sm, time.thread_time() - begun)
        logger.debug(f"{kept.file.name}: compiled in {kept.seconds:.1f} s")
        return kept

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done in as_completed([pool.submit(keep, *kernel) for kernel in kernels]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
