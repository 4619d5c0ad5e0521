"""Time every candidate kernel of matrix products and convolutions on the GPU that is here, and keep the fastest in a
file, which programs use with BACKSTRIDE_TUNE_FILE: of the layers that --suite and --shapes name, or else of the network
of `backstride train` and that of backprop.md. What the file holds already is not timed again."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .._extras import needed_for
from .._switch import environment
from ..backend import BackendUnavailableError, asarray, use_backend
from ..kernels.cuda.gemm.tuned import Answer, Question, described
from ..kernels.cuda.tuning.file import VARIABLE
from ..kernels.cuda.tuning.search import Search
from ..kernels.cuda.tuning.session import searching
from ..kernels.operation import CUDA, implementation
from .arguments import add_precision, selected_precision, writable_file
from .errors import CommandError, FileError
from .given_calls import add_calls, path_calls

HELP = "time every candidate kernel on this GPU and keep the fastest in a file"

_COPIES = 2
"""Of a call's inputs, which take turns."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file",
        type=writable_file,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help=f"where to keep them, JSON (default: {VARIABLE})",
    )
    parser.add_argument(
        "--any-bits",
        action="store_true",
        help="also candidates that sum up in another order than the model's choice, so that results change in their "
        "last bits; the file then is part of what makes a run repeatable",
    )
    add_calls(parser)
    add_precision(parser)


def run(args: argparse.Namespace) -> int:
    with needed_for("backstride tune"):
        from rich.console import Console
    file = getattr(args, "file", None) or environment(VARIABLE)
    if file is None:
        raise CommandError(f"there is no file to keep what is measured; give --file, or set {VARIABLE}")
    console = Console(highlight=False, soft_wrap=True)
    try:
        with use_backend("cupy"), selected_precision(args), searching(file, any_bits=args.any_bits) as search:
            found = _tuned(args, search, console)
    except BackendUnavailableError as error:
        raise CommandError(f"there is no GPU here to time kernels on: {error}") from error
    except ValueError as error:
        raise CommandError(error) from error
    except OSError as error:
        raise FileError(f"{file} cannot be written: {error.strerror or error}") from error
    _report(console, found, search, file)
    return 0


def _tuned(args: argparse.Namespace, search: Search, console: Any) -> list[tuple[str, Question, Answer]]:
    found = []
    for where, (operation, bare) in path_calls(args):
        if operation.is_product and not operation.parts:
            new = search.tune(implementation(operation, CUDA), bare, partial(_copies, bare))
            for question, answer in new.items():
                found.append((where, question, answer))
                console.print(_line(where, question, answer))
    return found


def _copies(bare: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The call's arguments with random numbers on the GPU."""
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(a.shape, np.float32).astype(a.dtype) if hasattr(a, "dtype") else a for a in bare]
    return [tuple(asarray(a) if hasattr(a, "dtype") else a for a in drawn) for _ in range(_COPIES)]


def _line(where: str, question: Question, answer: Answer) -> str:
    """What was measured of one product: the model's choice, and the fastest where it is another."""
    best, modelled = answer.timings[0], described(question.modelled())
    before = next((timed.seconds for timed in answer.timings if timed.configuration == modelled), None)
    text = f"{where}  {question.operation} {question.dtype}: {len(answer.timings)} candidates, "
    if before is None:
        return f"{text}{best.seconds * 1e6:.1f} µs; the model's choice does not run here"
    if best.configuration == modelled:
        return f"{text}{best.seconds * 1e6:.1f} µs by the model's choice"
    winner = _named(best.configuration)
    return f"{text}{before * 1e6:.1f} µs by the model's choice, {best.seconds * 1e6:.1f} µs by {winner}"


def _named(configuration: Mapping[str, Any]) -> str:
    """The direct kernel, or the tile of a product."""
    if "direct" in configuration:
        return str(configuration["direct"])
    m, n, *_ = configuration["tile"]
    return f"{m}x{n}"


def _report(console: Any, found: list[tuple[str, Question, Answer]], search: Search, file: Any) -> None:
    console.print(f"{len(found)} products timed, {len(search.answers.known)} in {file}; {VARIABLE}={file} uses them")
