"""Types of arguments that several commands share; each refuses a bad value before any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .._files import check_writable
from ..backend import NAMES, get_backend, set_backend
from ..kernels.cuda.runtime import nvrtc
from ..kernels.cuda.runtime.gpus import COMPUTE_CAPABILITIES
from ..precision import NAMES as PRECISIONS
from ..precision import get_float32_precision, use_float32_precision
from .errors import CommandError

Number = TypeVar("Number", int, float)


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=NAMES,
        default=argparse.SUPPRESS,
        help="where the arrays live (default: BACKSTRIDE_BACKEND, or else auto: cupy where it works, else numpy)",
    )


def select_backend(arguments: argparse.Namespace) -> str:
    """Put --backend in force, or what the environment says; returns its name."""
    try:
        if "backend" in arguments:
            set_backend(arguments.backend)
        return get_backend()
    except ValueError as error:
        raise CommandError(error) from error


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=argparse.SUPPRESS,
        help="of float32 products (default: BACKSTRIDE_FLOAT32_PRECISION, or else auto)",
    )


@contextmanager
def selected_precision(arguments: argparse.Namespace) -> Iterator[str]:
    """--precision in force, or what the environment says; its name."""
    try:
        name = arguments.precision if "precision" in arguments else get_float32_precision()
    except ValueError as error:
        raise CommandError(error) from error
    with use_float32_precision(name):
        yield name


def positive_int(text: str) -> int:
    return _number(int, text, "an int of at least 1", lambda value: value >= 1)


def power_of_two(text: str) -> int:
    return _number(int, text, "1, 2, 4, 8, ...", lambda value: value >= 1 and value & (value - 1) == 0)


def natural(text: str) -> int:
    return _number(int, text, "an int of at least 0", lambda value: value >= 0)


def positive_float(text: str) -> float:
    return _number(float, text, "a number above 0", lambda value: 0 < value < float("inf"))


def _number(kind: Callable[[str], Number], text: str, expected: str, accept: Callable[[Number], bool]) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accept(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value


def compute_capability(text: str) -> int:
    """90 for 9.0: one that this package knows, or else one that the compiler here does."""
    if text.isdigit() and (int(text) in COMPUTE_CAPABILITIES or int(text) in nvrtc.architectures()):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(map(str, COMPUTE_CAPABILITIES))}")


def writable_file(text: str) -> Path:
    """A path that can be written to: its folder is there and takes a file."""
    path = Path(text)
    try:
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder")
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be written: {error.strerror}") from None
    try:
        check_writable(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path.parent} cannot be written: {error.strerror}") from None
    return path


def readable_file(text: str) -> Path:
    try:
        with open(text, "rb"):
            return Path(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {error.strerror}") from None


def check_ending(option: str, path: Path, endings: Sequence[str]) -> None:
    """CommandError where the name of `path` promises another format than the one that is written."""
    if path.suffix.lower() not in endings:
        raise CommandError(f"argument {option}: {path} should end in {' or '.join(filter(None, endings))}")
