"""Compiling kernels before they are needed, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ...backend import import_cupy
from .. import cuda
from .dryrun import Device, dry_run
from .loader import OPTIONS


def compile_ahead(calls: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
    """Compile the kernels of these calls for the current device, into CuPy's disk cache, on all processor cores.

    calls: names of path functions with their arguments, of whose arrays only shape and dtype are read. A call that
    cannot be made is passed over: it says itself what is wrong.
    """
    cupy = import_cupy()
    found = cupy.cuda.Device()
    device = Device(int(found.compute_capability), found.attributes["MultiProcessorCount"])
    entries: dict[str, str] = {}
    for operation, arguments in calls:
        with suppress(Exception):
            launches = dry_run(getattr(cuda, operation), arguments, device).launches
            entries |= {launch.text: launch.entry for launch in launches}

    def compile_one(text: str, entry: str) -> None:
        with suppress(Exception):
            cupy.RawModule(code=text, options=OPTIONS).get_function(entry)

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_one, entries.keys(), entries.values()))
