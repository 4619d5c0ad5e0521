"""Tuning the products of a running program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .... import _files
from ....backend import is_capturing, is_cupy
from ...dispatch import watching
from ..runtime.answers import answering

if TYPE_CHECKING:
    from .search import Search


@contextmanager
def tuning(file: str | os.PathLike[str], *, any_bits: bool = False) -> Iterator[None]:
    """Time every candidate of each product that this thread or task makes on a GPU in the with block, once.

    The fastest are used from then on and kept in `file`, JSON, for later runs with BACKSTRIDE_TUNE_FILE=file; what it
    holds already is not timed again. One training step is enough, and takes some seconds for each layer. Results keep
    their bits, unless any_bits: candidates that sum up in another order, and the direct kernels for few channels beside
    products, are then timed too, and the file is part of what makes a run repeatable. On NumPy arrays there is nothing
    to tune.

    ValueError where `file` is no such file or was measured on another GPU, with another driver or other kernels;
    OSError where it cannot be written, before the block where that is known then. What was measured is written whatever
    ends the block.
    """
    with searching(file, any_bits=any_bits) as search:
        token = watching.set(_tuned(search, watching.get()))
        try:
            yield
        finally:
            watching.reset(token)


@contextmanager
def searching(file: str | os.PathLike[str], *, any_bits: bool) -> Iterator[Search]:
    """A search that begins with what `file` holds, and ends there. Raises as `tuning`."""
    from ..gemm.tuned import Answers  # what these import would make `import backstride` slower
    from .file import TuneFile
    from .machine import Machine
    from .search import Search

    file = os.path.abspath(file)  # wherever the block changes the folder to
    _files.check_writable(file)
    search = Search(Answers(_known(file)), any_bits=any_bits)
    try:
        yield search
    finally:
        if search.answers.known:
            TuneFile(Machine.here(), search.answers.known).write(file)


def _known(file: str) -> Any:
    from .file import TuneFile
    from .machine import Machine

    if not os.path.exists(file) or os.path.getsize(file) == 0:
        return {}
    found = TuneFile.read(file)
    reason = found.machine.difference(Machine.here())
    if reason is not None:
        raise ValueError(f"tuning: {file} was measured with {reason}; expected another file, or none")
    return found.known


def _tuned(search: Search, outer: Callable[..., Any] | None) -> Callable[..., Any]:
    """Makes calls as kernels/dispatch.py says, and tunes those on a GPU before; not where a stream captures."""

    def call(operation: str, compute: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if is_cupy(arguments[0]) and not is_capturing(arguments[0]):
            with arguments[0].device:
                search.tune(compute, arguments, lambda: [arguments])
        with answering(search.answers):
            return outer(operation, compute, arguments) if outer else compute(*arguments)

    return call
