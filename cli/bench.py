"""`backstride bench`: every operation measured beside PyTorch and others, as a table, JSON, a picture, a page."""

from __future__ import annotations

import argparse
import importlib
import itertools
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._extras import needed_for
from ..backend import to_numpy
from ..benchmarks import suites
from ..benchmarks.accuracy import conform, without_option
from ..benchmarks.cases import FUNCTIONS, Call, Workload
from ..benchmarks.peers import Peer, find_peers
from ..benchmarks.results import Results
from ..benchmarks.run import Plan, default_batch, execute, functions_named, new_results
from ..kernels import dtypes
from ..kernels.layout import NCHW, NHWC
from .arguments import add_backend, check_ending, positive_int, readable_file, select_backend, writable_file
from .errors import CommandError, write, writing
from .notices import progress_console
from .signals import exit_status

if TYPE_CHECKING:
    from rich.console import Console

HELP = "measure every operation beside PyTorch and others"

SECONDS, QUICK_SECONDS = 1.5, 0.4
"""What timing one case may take, for all its contestants together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    unset = argparse.SUPPRESS
    add_backend(parser)
    parser.add_argument("--suite", action="append", choices=suites.suite_names(), default=unset, help="only this")
    parser.add_argument("--op", action="append", choices=FUNCTIONS, default=unset, help="only this operation")
    parser.add_argument("--dtype", choices=dtypes.NAMES, default="float32")
    parser.add_argument(
        "--batch",
        type=positive_int,
        default=unset,
        metavar="N",
        help="images, for the shapes that fix none (default: 8 on NumPy, 128 on CuPy)",
    )
    parser.add_argument("--layout", choices=(NCHW, NHWC), default=unset, help="where the channels of images stand")
    parser.add_argument("--quick", action="store_true", help="a subset that two cores measure in minutes")
    parser.add_argument(
        "--peer",
        action="append",
        default=unset,
        metavar="NAME",
        help="measure beside this one, or 'all' (default: the first that is installed of torch and textbook)",
    )
    parser.add_argument(
        "--candidate",
        default=unset,
        metavar="MODULE:FUNCTION",
        help="check your own function, with the signature of --op, and measure beside it",
    )
    for name, meaning in (
        ("--json", "write everything that was measured"),
        ("--plot", "draw the roofline and the ratios: .png, .pdf or .svg"),
        ("--html", "write one page with tables and picture"),
    ):
        parser.add_argument(name, type=writable_file, default=unset, metavar="FILE", help=meaning)
    parser.add_argument(
        "--compare",
        nargs=2,
        type=readable_file,
        default=unset,
        metavar=("BEFORE.json", "AFTER.json"),
        help="measure nothing: show two runs side by side",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, 1 where a result was wrong, 130 after Ctrl-C, 143 after SIGTERM."""
    with needed_for("backstride bench"):
        from rich.console import Console
    console = Console()
    try:
        if "compare" in arguments:
            return _compare(arguments.compare, console)
        if select_backend(arguments) == "compare":
            raise ValueError("backend 'compare' runs every call twice; expected 'numpy' or 'cupy' to measure")
        return _measure(arguments, console)
    except ValueError as error:
        raise CommandError(error) from error


def _compare(paths: list[Path], console: Console) -> int:
    from ..benchmarks.compare import comparison

    before, after = map(Results.load, paths)
    console.print(comparison(before, after, console))
    return 0


def _measure(arguments: argparse.Namespace, console: Console) -> int:
    from ..benchmarks.report import tables

    if "plot" in arguments or "html" in arguments:
        with needed_for("backstride bench --plot and --html"):
            from ..benchmarks.plots import FORMATS
        if "plot" in arguments:
            check_ending("--plot", arguments.plot, FORMATS)
    given = vars(arguments)
    layout = given.get("layout", NCHW)
    found = find_peers(layout)
    plan = Plan(
        shapes=suites.select(given.get("suite", ()), arguments.quick),
        functions=functions_named(given.get("op", ())),
        dtype=arguments.dtype,
        batch=given.get("batch", default_batch()),
        seconds=QUICK_SECONDS if arguments.quick else SECONDS,
        peers=found.choose(given.get("peer", ())),
        layout=layout,
    )
    if plan.count == 0:
        raise ValueError("--op is for no shape of --suite in this --dtype and --layout; expected one that is")
    if "candidate" in arguments:
        candidate = _candidate(arguments, plan, console)
        if candidate is None:
            return 1
        plan = replace(plan, peers=[candidate, *plan.peers])
    results = new_results(plan, found, {"command": _command(given), "batch": plan.batch, "dtype": plan.dtype})
    interrupted = 0
    with _progress(plan.count) as begin:
        try:
            execute(plan, results, begin)
        except KeyboardInterrupt as interrupt:
            interrupted = exit_status(interrupt)
            console.print("interrupted: what was measured follows", style="bold")
    console.print(tables(results, console))
    _write(given, results)
    return interrupted or int(any(row.fault for row in results.rows))


def _candidate(arguments: argparse.Namespace, plan: Plan, console: Console) -> Peer | None:
    """The user's function as a peer; None, and its faults on the screen, where it does not conform."""
    if len(plan.functions) != 1:
        raise ValueError("--candidate is given without one --op; expected the operation whose signature it has")
    name = arguments.candidate
    function = _import_function(name)
    verdicts = list(conform(function, plan.functions[0], plan.dtype))
    faults = [(case.label, verdict.fault) for case, verdict in verdicts if verdict.fault is not None]
    for label, fault in faults:
        console.print(f"{name}, {label}: {fault}", style="red", highlight=False, markup=False)
    declined = sum(verdict.declined is not None for _, verdict in verdicts)
    right = len(verdicts) - declined - len(faults)
    summary = f"{name}: right on {right} of {len(verdicts)} awkward configurations, declined {declined}"
    console.print(f"{summary}, wrong on {len(faults)}", highlight=False, markup=False)

    def prepare(case: Workload) -> Call:
        lacking = without_option(function, case)
        if lacking is not None:
            raise NotImplementedError(lacking)
        return case.prepare(function)

    return Peer("candidate", name, prepare, to_numpy) if right and not faults else None


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
def _progress(count: int) -> Iterator[Callable[[Workload], None]]:
    """A progress bar on stderr; it is drawn between cases only, so that no thread of it runs while they are timed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=progress_console(), auto_refresh=False, transient=True) as progress:
        task = progress.add_task("measuring the ceilings", total=count)
        progress.refresh()
        completed = itertools.count()

        def begin(case: Workload) -> None:
            description = f"{case.group}, {case.label}"
            progress.update(task, description=description, completed=next(completed), refresh=True)

        yield begin


def _command(given: dict[str, Any]) -> str:
    """The command line that measures the same."""
    words = ["backstride", "bench"]
    for option in ("suite", "op", "peer", "backend", "dtype", "batch", "layout", "candidate"):
        value = given.get(option, [])
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{option}", str(one)]
    return shlex.join([*words, "--quick"] if given["quick"] else words)


def _write(given: dict[str, Any], results: Results) -> None:
    if "json" in given:
        with writing(given["json"]):
            results.save(given["json"])
    if "plot" in given:
        from ..benchmarks.plots import drawn

        write(given["plot"], drawn(results, given["plot"].suffix))
    if "html" in given:
        from ..benchmarks.page import page

        write(given["html"], page(results))
