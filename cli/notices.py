"""-q and -v: how much of the package's notices and of a command's progress is on stderr."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._notices import logger

if TYPE_CHECKING:
    from rich.console import Console


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    levels = parser.add_mutually_exclusive_group()
    for short, long, level, meaning in (
        ("-q", "--quiet", logging.ERROR, "results and errors alone: no notices, no progress"),
        ("-v", "--verbose", logging.DEBUG, "say of every CUDA kernel where it comes from"),
    ):
        levels.add_argument(
            short, long, dest="level", action="store_const", const=level, default=argparse.SUPPRESS, help=meaning
        )


class _Lines(logging.Handler):
    """Each notice as one line, on what is stderr at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"backstride: {record.getMessage()}", file=sys.stderr)


@contextmanager
def notices(arguments: argparse.Namespace) -> Iterator[None]:
    """Inside the with block the package's notices are shown as far as -q and -v ask for them."""
    handler, before = _Lines(), logger.level
    logger.setLevel(getattr(arguments, "level", logging.INFO))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def is_quiet() -> bool:
    return not logger.isEnabledFor(logging.INFO)


def progress_console() -> Console:
    """Where a command shows how far it is."""
    from rich.console import Console

    return Console(stderr=True, quiet=is_quiet())
