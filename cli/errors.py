"""How a command ends that cannot do what it was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .._files import save


class CommandError(Exception):
    """A command line that cannot be used. Its message is shown on one line after `backstride: error:`."""

    status = 2


class FileError(CommandError):
    """A file that cannot be written, or in which something is wrong."""

    status = 1


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Around the writing of `path`: an OSError (a full disk, say) becomes a FileError."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error


def write(path: str | os.PathLike[str], data: bytes | str) -> None:
    """`data` into a file; FileError where it cannot be written."""
    with writing(path):
        save(path, data)


def listed(problems: Sequence[str]) -> str:
    """All of them on one line, or the first ten and how many there are besides."""
    more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
    return "; ".join([*problems[:10], *more])
