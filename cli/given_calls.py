"""The calls that a command line names: layers of benchmark suites, lines of a file, or this project's own networks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..benchmarks.suites import suite_names
from ..conformance import call_text, calls
from ..kernels import dtypes
from ..kernels.cuda.offline import ahead
from .arguments import positive_int, readable_file
from .errors import CommandError, listed
from .suite_calls import own_networks, suite, with_gradients


def add_calls(parser: argparse.ArgumentParser) -> None:
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--suite",
        action="append",
        choices=suite_names(),
        default=unset,
        metavar="NAME",
        help=f"every layer of a benchmark suite: {', '.join(suite_names())}; may be given several times",
    )
    parser.add_argument(
        "--shapes",
        type=readable_file,
        default=unset,
        metavar="FILE",
        help="a call on each line, with the options of `plan`: `conv2d --x 32,64,56,56 --w 64,64,3,3 --padding 1`; "
        "a forward operation stands for its gradients too; # begins a comment; backstride.record_shapes writes it",
    )
    parser.add_argument("--batch", type=several(positive_int), default="128", metavar="N,...", help="of --suite")
    parser.add_argument(
        "--dtype",
        type=several(_dtype),
        default="float32",
        metavar="NAME,...",
        help="of everything but the lines of --shapes that name one",
    )


def several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """The type of an argument that takes one or more of `kind`, separated by commas."""
    return lambda text: [kind(part) for part in text.split(",")]


def _dtype(text: str) -> str:
    if text not in dtypes.NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(dtypes.NAMES)}")
    return text


def path_calls(args: argparse.Namespace) -> Iterator[tuple[str, ahead.PathCall]]:
    """Every call, with where it comes from."""
    shaped = [each for name in getattr(args, "suite", ()) for batch in args.batch for each in suite(name, batch)]
    if "suite" not in args and "shapes" not in args:
        shaped = list(own_networks())
    for dtype in args.dtype:
        make = calls.bare(dtypes.named(dtype))
        for layer, operation, case in shaped:
            yield layer, (operation, calls.call(operation, case, make))
    if "shapes" in args:
        yield from _file_calls(args.shapes, args.dtype)


def _file_calls(file: Path, names: list[str]) -> list[tuple[str, ahead.PathCall]]:
    """The calls of a file, or a CommandError with every line that says none."""
    found, problems = [], []
    for number, line in enumerate(_lines(file), 1):
        where = f"{file}, line {number}"
        try:
            found += [(where, call) for call in _line_calls(line, names)]
        except ValueError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise CommandError(listed(problems))
    return found


def _line_calls(line: str, names: list[str]) -> Iterator[ahead.PathCall]:
    call = call_text.parse(line)
    if call is not None:
        for dtype in [call.dtype] if call.dtype else names:
            make = calls.bare(dtypes.named(dtype))
            for operation in with_gradients(call.operation):
                yield operation, calls.call(operation, call.case, make)


def _lines(file: Path) -> Iterable[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is no text: {error.reason} at byte {error.start}") from error
