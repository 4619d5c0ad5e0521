"""Which calls a program makes, kept as lines that `backstride warm --shapes` reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .. import _files
from ..kernels import OPERATIONS
from ..kernels.dispatch import watching
from ..kernels.operation import Compute


@contextmanager
def record_shapes(file: str | os.PathLike[str]) -> Iterator[None]:
    """Write a line for every different call of an operation that this thread or task makes in the with block.

    One training step is enough, on either backend: shapes, options and dtypes are what counts. The file is written at
    the end of the block, whatever ends it. OSError where it cannot be, before the block where that is known then.
    """
    file = os.path.abspath(file)  # wherever the block changes the folder to
    _files.check_writable(file)
    lines: list[str] = []
    try:
        with noting(lines.append):
            yield
    finally:
        _files.save(file, "".join(f"{line}\n" for line in lines))


@contextmanager
def noting(note: Callable[[str], object]) -> Iterator[None]:
    """Inside the with block, `note` gets the text of every call that is not the same as one before."""
    from .call_text import line  # what it imports would make `import backstride` slower

    seen: set[str] = set()

    def noted(operation: str, compute: Compute, arguments: tuple[Any, ...]) -> Any:
        text = line(OPERATIONS[operation], arguments)
        if text not in seen:
            seen.add(text)
            note(text)
        return compute(*arguments)

    token = watching.set(noted)
    try:
        yield
    finally:
        watching.reset(token)
