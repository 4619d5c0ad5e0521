"""A benchmark run: every case checked, then timed beside its peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import backend
from ..kernels.layout import NCHW
from ..kernels.operation import Function, function_on
from . import environment
from .accuracy import exact, judge
from .cases import FUNCTIONS, Workload, cases, takes
from .measure import Contestant, Timer, interleave, make_timer, measure_ceilings
from .peers import Peer, Peers
from .results import Ratio, Results, Row
from .suites import Shape

NOISE = "itself"


@dataclass(frozen=True)
class Plan:
    """What to measure. `batch` is for shapes that fix none, `layout` is that of images; `seconds` is the time spent on
    each case."""

    shapes: Sequence[Shape]
    functions: Sequence[Function]
    dtype: str
    batch: int
    seconds: float
    peers: Sequence[Peer]
    layout: str = NCHW

    def cases(self) -> Iterator[Workload]:
        return cases(self.shapes, self.functions, self.dtype, self.batch, self.layout)

    @property
    def count(self) -> int:
        return sum(takes(f, s, self.dtype, self.layout) for s in self.shapes for f in self.functions)


def default_batch() -> int:
    """Images per step where a shape says none: what a core or a GPU is usually given."""
    return 128 if backend.get_backend() == "cupy" else 8


def functions_named(names: Sequence[str]) -> list[Function]:
    """The functions of these names, all where none is given. ValueError for an unknown one."""
    for name in names:
        if name not in FUNCTIONS:
            raise ValueError(f"operation is {name!r}; expected one of {', '.join(FUNCTIONS)}")
    return [FUNCTIONS[name] for name in names] or list(FUNCTIONS.values())


def new_results(plan: Plan, found: Peers, settings: dict[str, Any]) -> Results:
    """Results without rows and ceilings; `settings` is what was asked for."""
    peers = {peer.name: peer.description for peer in plan.peers}
    return Results(environment.describe(), settings, peers, found.missing)


def execute(plan: Plan, results: Results, begin: Callable[[Workload], None] = lambda case: None) -> None:
    """Measure the ceilings and the plan's cases into `results`, calling `begin` before each case.

    Whatever ends it early (KeyboardInterrupt above all) leaves the finished rows in `results`.
    """
    timer = make_timer()
    results.ceilings[plan.dtype] = measure_ceilings(plan.dtype, timer)
    for case in plan.cases():
        begin(case)
        results.rows.append(measure_case(case, plan, results, timer))
    results.complete = True


def measure_case(case: Workload, plan: Plan, results: Results, timer: Timer) -> Row:
    row = Row(
        case.suite,
        case.label,
        case.source,
        function_on(case.operation, case.configuration).name,
        case.group,
        case.dtype,
        case.flops,
        case.bytes,
    )
    expected = exact(case)
    ours = case.prepare()
    verdict = judge(case, ours(), expected)
    row.error, row.fault = verdict.error, verdict.fault
    if row.fault is not None:
        return row
    contestants = [Contestant("ours", ours)]
    for peer in plan.peers:
        try:
            call = peer.prepare(case)
            with peer.scope():
                fault = judge(case, call(), expected, peer.to_numpy, peer.tolerance).fault
        except (NotImplementedError, RuntimeError, MemoryError) as error:  # how libraries refuse a shape or a dtype
            fault = str(error)
        if fault is None:
            contestants.append(Contestant(peer.name, call, peer.scope))
        else:
            row.notes[peer.name] = fault
    measure_noise = len(contestants) > 1 and case.group not in results.noise
    if measure_noise:
        first = contestants[1]
        contestants.append(Contestant(NOISE, first.call, first.scope))
    timings = interleave(contestants, timer, plan.seconds)
    if measure_noise:
        results.noise[case.group] = Ratio.of(timings[contestants[1].name].decisive, timings.pop(NOISE).decisive)
    row.ours = timings.pop("ours")
    row.peers = timings
    return row
