"""Check every operation, dtype and awkward shape on this machine's GPU: error, in units of the rounding bound, and
repeatability."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._extras import needed_for
from ..backend import probe_cupy
from ..conformance import suite
from ..conformance.suite import Outcome
from ..kernels import FUNCTIONS, dtypes
from .arguments import add_precision, selected_precision, writable_file
from .errors import CommandError, write
from .notices import progress_console
from .signals import exit_status

HELP = "check every operation on this machine's GPU against float64"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cases = sorted({case.name for function in FUNCTIONS.values() for case in suite.all_cases(function)})
    parser.add_argument("--backend", choices=("cupy", "numpy"), default="cupy", help="what to check")
    for option, names in (("operation", FUNCTIONS), ("dtype", dtypes.NAMES), ("case", cases)):
        parser.add_argument(
            f"--{option}",
            action="append",
            choices=names,
            metavar="NAME",
            default=argparse.SUPPRESS,
            help=f"only this {option}; may be given several times",
        )
    add_precision(parser)
    parser.add_argument(
        "--json",
        nargs="?",
        type=writable_file,
        const=None,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="every outcome as JSON, into a file or on stdout",
    )


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 all passed, 1 something failed, 130 after Ctrl-C, 143 after SIGTERM.

    CommandError (exit status 2) where there is no GPU to check.
    """
    if args.backend == "cupy":
        probe = probe_cupy()
        if probe.failed is not None:
            raise CommandError(
                f"check needs an NVIDIA GPU that CuPy can use: the {probe.failed} probe failed ({probe.reason}); "
                f"{probe.mend}. To check the NumPy path instead: backstride check --backend numpy"
            )
    chosen = vars(args)
    with selected_precision(args) as precision:
        outcomes = suite.run(
            args.backend,
            dtypes=chosen.get("dtype", _dtypes()),
            operations=chosen.get("operation", tuple(FUNCTIONS)),
            cases=chosen.get("case"),
        )
        collected, interrupted = _collect(outcomes if "json" in args else _with_progress(outcomes))
    failed = sum(not outcome.passed for outcome in collected)
    if "json" in args:
        document = _document(args.backend, precision, collected, failed) | {"complete": not interrupted}
        text = json.dumps(document, indent=1) + "\n"
        _write(text, args.json)
        print(f"{len(collected)} calls, {failed} failed", file=sys.stderr)
    else:
        _print_table(args, collected, failed)
    if interrupted:
        print("backstride: interrupted: what was checked until then is above", file=sys.stderr)
    return interrupted or int(failed > 0 or not collected)


def _dtypes() -> Sequence[str]:
    """All dtypes, without bfloat16 where ml_dtypes is missing."""
    try:
        dtypes.named("bfloat16")
    except ImportError:
        return [name for name in dtypes.NAMES if name != "bfloat16"]
    return dtypes.NAMES


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
    else:
        write(path, text)


def _document(backend: str, precision: str, outcomes: Sequence[Outcome], failed: int) -> dict[str, Any]:
    def row(outcome: Outcome) -> dict[str, Any]:
        # JSON has no infinity: null
        return asdict(outcome) | {"error": outcome.error if math.isfinite(outcome.error) else None}

    return {
        "device": device_name(backend),
        "precision": precision,
        "calls": len(outcomes),
        "failed": failed,
        "outcomes": [row(outcome) for outcome in outcomes],
    }


def device_name(backend: str) -> str:
    if backend == "numpy":
        return "NumPy path"
    from ..backend import import_cupy

    runtime = import_cupy().cuda.runtime
    return runtime.getDeviceProperties(runtime.getDevice())["name"].decode()


def _collect(outcomes: Iterable[Outcome]) -> tuple[list[Outcome], int]:
    """The outcomes up to an interrupt, and its exit status or 0."""
    collected: list[Outcome] = []
    try:
        for outcome in outcomes:
            collected.append(outcome)
    except KeyboardInterrupt as interrupt:
        return collected, exit_status(interrupt)
    return collected, 0


def _with_progress(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    with needed_for("backstride check"):
        console = progress_console()
    with console.status("") as status:
        for outcome in outcomes:
            yield outcome
            status.update(f"{outcome.operation} {outcome.dtype} {outcome.case}")


def _print_table(args: argparse.Namespace, outcomes: Sequence[Outcome], failed: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.operation].append(outcome)
    dtypes = tuple(dict.fromkeys(outcome.dtype for outcome in outcomes))
    title = f"{device_name(args.backend)}: worst error, in units of the rounding bound"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    table.add_column("operation", no_wrap=True)
    for heading in ("calls", *(dtype.replace("float", "f") for dtype in dtypes)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("same bits", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for operation, group in rows.items():
        worst = (max(o.error for o in group if o.dtype == dtype) for dtype in dtypes)
        failures = sum(not outcome.passed for outcome in group)
        verdict = f"[red]{failures} failed" if failures else "[green]ok"
        repeatable = "yes" if all(outcome.repeatable for outcome in group) else "[red]no"
        table.add_row(operation, str(len(group)), *(f"{error:.2f}" for error in worst), repeatable, verdict)
    console.print(table)
    for outcome in outcomes:
        if outcome.fault is not None:
            name = f"{outcome.operation} {outcome.dtype} {outcome.case} ({outcome.data})"
            console.print(f"FAILED {name}: {outcome.fault}", style="red", highlight=False, markup=False)
    console.print(f"{len(outcomes)} calls, {failed} failed")
