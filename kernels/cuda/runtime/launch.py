"""From a configuration and its arrays to a kernel on the current stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...checks import value_error
from . import replay
from .arrays import contiguous
from .loader import kernel, params

INDEX_LIMIT = 2**31 - 2**12  # extents a kernel counts in 32 bits, with room for the last tile's overhang
_DEFAULT_SHARED_BYTES = 48 * 1024  # a kernel must ask for more


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
    if shared > max(_DEFAULT_SHARED_BYTES, function.max_dynamic_shared_size_bytes):
        function.max_dynamic_shared_size_bytes = shared
    packed = struct.pack(**values)
    replay.note(function, (grid,), (block,), struct, packed, shared)
    function((grid,), (block,), (packed,), shared_mem=shared)


def inputs(*arrays: Any) -> tuple[Any, ...]:
    """The arrays as kernels take them, contiguous and aligned; None stays None."""
    return tuple(None if a is None else contiguous(a) for a in arrays)
