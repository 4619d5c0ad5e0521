"""`backstride bench`: every operation measured beside PyTorch and others, as a table, JSON, a picture, a page."""

from __future__ import annotations

import argparse
import importlib
import itertools
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import BackendUnavailableError, to_numpy, use_backend
from ..benchmarks import suites
from ..benchmarks.accuracy import conform
from ..benchmarks.cases import OPERATIONS, Case, Operation
from ..benchmarks.peers import Peer, find_peers
from ..benchmarks.results import Results
from ..benchmarks.run import Plan, default_batch, execute, new_results, operations_named
from ..extras import needed_for
from ..kernels.checks import DTYPE_NAMES

if TYPE_CHECKING:
    from rich.console import Console

HELP = "measure every operation beside PyTorch and others"

SECONDS, QUICK_SECONDS = 1.5, 0.4
"""What timing one case may take, for all its contestants together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", action="append", choices=suites.suite_names(), help="only this suite of shapes")
    parser.add_argument("--op", action="append", choices=OPERATIONS, metavar="NAME", help="only this operation")
    parser.add_argument("--backend", choices=("auto", "numpy", "cupy"), default="auto", help="what to measure")
    parser.add_argument("--dtype", choices=DTYPE_NAMES, default="float32")
    parser.add_argument("--batch", type=int, help="for shapes that fix none (default: 8 on NumPy, 128 on CuPy)")
    parser.add_argument("--quick", action="store_true", help="a subset that two cores measure in minutes")
    parser.add_argument("--peer", action="append", metavar="NAME", help="beside what, or 'all' (default: torch)")
    parser.add_argument("--candidate", metavar="MODULE:FUNCTION", help="your own function with the signature of --op")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write everything measured")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw roofline and ratios")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write one page with tables and picture")
    parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"), help="measure nothing: show two runs")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 all right, 1 a result was wrong, 2 the arguments cannot be used, 130 interrupted."""
    with needed_for("backstride bench"):
        from rich.console import Console
    console = Console()
    try:
        if args.compare:
            return _compare(args.compare, console)
        with use_backend(args.backend):
            return _measure(args, console)
    except (ValueError, OSError, BackendUnavailableError) as error:
        print(f"backstride bench: {error}", file=sys.stderr)
        return 2


def _compare(paths: list[str], console: Console) -> int:
    from ..benchmarks.compare import comparison

    before, after = map(Results.load, paths)
    console.print(comparison(before, after, console))
    return 0


def _measure(args: argparse.Namespace, console: Console) -> int:
    from ..benchmarks.report import tables

    _check_outputs(args)
    operations = operations_named(args.op or [])
    found = find_peers()
    peers = found.choose(args.peer or [])
    if args.candidate:
        candidate = _candidate(args, operations, console)
        if candidate is None:
            return 1
        peers = [candidate, *peers]
    plan = Plan(
        shapes=suites.select(args.suite or [], args.quick),
        operations=operations,
        dtype=args.dtype,
        batch=default_batch() if args.batch is None else args.batch,
        seconds=QUICK_SECONDS if args.quick else SECONDS,
        peers=peers,
    )
    if plan.count == 0:
        raise ValueError("no shape of these suites has such an operation")
    results = new_results(plan, found, {"command": _command(args), "batch": plan.batch, "dtype": plan.dtype})
    with _progress(plan.count) as begin:
        try:
            execute(plan, results, begin)
        except KeyboardInterrupt:
            console.print("interrupted: what was measured follows", style="bold")
    _write(args, results)
    console.print(tables(results, console))
    return 130 if not results.complete else 1 if any(row.fault for row in results.rows) else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse before minutes of measuring what could not be written after them."""
    for path in filter(None, (args.json, args.plot, args.html)):
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}")
    if args.plot or args.html:
        with needed_for("backstride bench --plot and --html"):
            importlib.import_module("matplotlib")


def _candidate(args: argparse.Namespace, operations: list[Operation], console: Console) -> Peer | None:
    """The user's function as a peer; None, and its faults on the screen, where it does not conform."""
    if len(args.op or []) != 1:
        raise ValueError("--candidate needs one --op, the operation whose signature the function has")
    function = _import_function(args.candidate)
    verdicts = list(conform(function, operations[0], args.dtype))
    faults = [(case.label, verdict.fault) for case, verdict in verdicts if verdict.fault is not None]
    for label, fault in faults:
        console.print(f"{args.candidate}, {label}: {fault}", style="red", highlight=False, markup=False)
    declined = sum(verdict.declined is not None for _, verdict in verdicts)
    right = len(verdicts) - declined - len(faults)
    summary = f"{args.candidate}: right on {right} of {len(verdicts)} configurations, declined {declined}"
    console.print(f"{summary}, wrong on {len(faults)}", highlight=False, markup=False)
    if faults or not right:
        return None
    return Peer("candidate", args.candidate, lambda case: case.prepare(function), to_numpy)


def _import_function(name: str) -> Callable[..., Any]:
    """The function MODULE:FUNCTION, the module looked for in the current folder too."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--candidate is {name!r}; expected MODULE:FUNCTION that can be imported: {error}") from error
    finally:
        sys.path.pop(0)
    return function


@contextmanager
def _progress(count: int) -> Iterator[Callable[[Case], None]]:
    """A progress bar on stderr; it is drawn between cases only, so that no thread of it runs while they are timed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("measuring the ceilings", total=count)
        progress.refresh()
        completed = itertools.count()

        def begin(case: Case) -> None:
            description = f"{case.group}, {case.label}"
            progress.update(task, description=description, completed=next(completed), refresh=True)

        yield begin


def _command(args: argparse.Namespace) -> str:
    """The command line that measures the same."""
    words = ["backstride", "bench"]
    for option in ("suite", "op", "peer"):
        for value in getattr(args, option) or []:
            words += [f"--{option}", value]
    for option in ("backend", "dtype", "batch", "candidate"):
        if getattr(args, option) is not None:
            words += [f"--{option}", str(getattr(args, option))]
    return shlex.join([*words, "--quick"] if args.quick else words)


def _write(args: argparse.Namespace, results: Results) -> None:
    if args.json:
        results.save(args.json)
    if args.plot:
        from ..benchmarks.plots import png

        args.plot.write_bytes(png(results))
    if args.html:
        from ..benchmarks.page import page

        args.html.write_text(page(results))
