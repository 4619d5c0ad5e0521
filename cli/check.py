"""`backstride check`: the conformance suite on this machine's device, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from .. import conformance
from ..backend import probe_cupy
from ..conformance import Outcome
from ..extras import needed_for
from ..kernels import cpu
from ..kernels.checks import DTYPE_NAMES
from ..precision import NAMES as PRECISIONS
from ..precision import get_float32_precision, use_float32_precision

HELP = "check every operation on this machine's GPU against float64"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cases = sorted({case.name for _, family in conformance.SUITE for case in family})
    parser.add_argument("--backend", choices=("cupy", "numpy"), default="cupy", help="what to check (default: cupy)")
    parser.add_argument("--operation", action="append", choices=cpu.__all__, metavar="NAME", help="only this operation")
    parser.add_argument("--dtype", action="append", choices=DTYPE_NAMES, help="only this dtype")
    parser.add_argument("--case", action="append", choices=cases, metavar="NAME", help="only this named configuration")
    parser.add_argument("--precision", choices=PRECISIONS, default=get_float32_precision(), help="of float32 products")
    parser.add_argument("--json", action="store_true", help="every outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 all passed, 1 something failed, 2 there is no GPU to check."""
    if args.backend == "cupy":
        probe = probe_cupy()
        if probe.failed is not None:
            print(
                f"backstride check needs an NVIDIA GPU that CuPy can use: the {probe.failed} probe failed "
                f"({probe.reason}); {probe.mend}. To check the NumPy path: backstride check --backend numpy",
                file=sys.stderr,
            )
            return 2
    with use_float32_precision(args.precision):
        outcomes = conformance.run(
            args.backend, dtypes=_dtypes(args.dtype), operations=args.operation, cases=args.case
        )
        collected = list(outcomes) if args.json else _collect_with_progress(outcomes)
    failed = sum(not outcome.passed for outcome in collected)
    if args.json:
        print(json.dumps(_document(args, collected, failed), indent=1))
    else:
        _print_table(args, collected, failed)
    return 1 if failed or not collected else 0


def _dtypes(chosen: Sequence[str] | None) -> Sequence[str]:
    """The dtypes asked for; by default all, without bfloat16 where ml_dtypes is missing."""
    if chosen is not None:
        return chosen
    try:
        conformance.dtype_named("bfloat16")
    except ImportError:
        return [name for name in DTYPE_NAMES if name != "bfloat16"]
    return DTYPE_NAMES


def _document(args: argparse.Namespace, outcomes: Sequence[Outcome], failed: int) -> dict[str, Any]:
    def row(outcome: Outcome) -> dict[str, Any]:
        # JSON has no infinity: null
        return asdict(outcome) | {"error": outcome.error if math.isfinite(outcome.error) else None}

    return {
        "device": device_name(args.backend),
        "precision": args.precision,
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


def _collect_with_progress(outcomes: Iterable[Outcome]) -> list[Outcome]:
    with needed_for("backstride check"):
        from rich.console import Console
    collected = []
    with Console(stderr=True).status("") as status:
        for outcome in outcomes:
            collected.append(outcome)
            status.update(f"{outcome.operation} {outcome.dtype} {outcome.case}")
    return collected


def _print_table(args: argparse.Namespace, outcomes: Sequence[Outcome], failed: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.operation].append(outcome)
    dtypes = tuple(dict.fromkeys(outcome.dtype for outcome in outcomes))
    table = Table(title=f"{device_name(args.backend)}: worst error, in units of the rounding bound")
    table.add_column("operation", no_wrap=True)
    for heading in ("calls", *(dtype.replace("float", "f") for dtype in dtypes)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("same bits twice", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for operation, group in rows.items():
        worst = (max(o.error for o in group if o.dtype == dtype) for dtype in dtypes)
        failures = sum(not outcome.passed for outcome in group)
        verdict = f"[red]{failures} failed" if failures else "[green]ok"
        repeatable = "yes" if all(outcome.repeatable for outcome in group) else "[red]no"
        table.add_row(operation, str(len(group)), *(f"{error:.2g}" for error in worst), repeatable, verdict)
    console.print(table)
    for outcome in outcomes:
        if outcome.fault is not None:
            name = f"{outcome.operation} {outcome.dtype} {outcome.case} ({outcome.data})"
            console.print(f"FAILED {name}: {outcome.fault}", style="red", highlight=False, markup=False)
    console.print(f"{len(outcomes)} calls, {failed} failed")
