"""From a configuration and its arrays to a kernel on the current stream."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ...checks import value_error
from . import replay
from .arrays import contiguous
from .gpus import DEFAULT_BLOCK_SHARED_BYTES
from .loader import kernel, params

INDEX_LIMIT = 2**31 - 2**12  # extents a kernel counts in 32 bits, with room for the last tile's overhang

_asking = threading.Lock()


def check_index(operation: str, **extents: int) -> None:
    """ValueError where an extent that kernels count in 32 bits is too large for that."""
    for name, extent in extents.items():
        if extent >= INDEX_LIMIT:
            raise value_error(operation, name.replace("_", " "), extent, f"less than {INDEX_LIMIT} on CUDA")


def launch(
    name: str,
    entry: str,
    defines: Mapping[str, object],
    grid: int,
    block: int,
    shared: int,
    **values: Any,
) -> None:
    """Queue src/`name`'s `entry` on the current stream; values: of the fields of its Params."""
    function, struct = kernel(name, entry, defines), params(name)
    ask_for_shared_memory(function, shared)
    packed = struct.pack(**values)
    replay.note(function, (grid,), (block,), struct, packed, shared)
    function((grid,), (block,), (packed,), shared_mem=shared)


def ask_for_shared_memory(function: Any, shared: int) -> None:
    """Let a kernel have so much dynamic shared memory where it takes more, with its static part, than a block gets
    unasked. A kernel serves several sizes and threads, and kept launches rely on what it was given: never less."""
    if shared + function.shared_size_bytes <= DEFAULT_BLOCK_SHARED_BYTES:
        return
    with _asking:
        function.max_dynamic_shared_size_bytes = max(shared, function.max_dynamic_shared_size_bytes)


def inputs(*arrays: Any) -> tuple[Any, ...]:
    """The arrays as kernels take them, contiguous and aligned; None stays None."""
    return tuple(None if a is None else contiguous(a) for a in arrays)
