"""What `pytest benchmarks` measures: the suites' operations, ours and the peers', each checked before it is timed.

The contestants of one operation on one shape form a group. `backstride bench` lets them take turns, which compares
them more fairly; this form is for pytest-benchmark's saved runs and histories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from backstride.backend import get_backend, synchronize, to_numpy
from backstride.benchmarks.accuracy import exact, judge
from backstride.benchmarks.cases import Workload, cases, takes
from backstride.benchmarks.measure import make_timer
from backstride.benchmarks.peers import Peer, find_peers
from backstride.benchmarks.run import default_batch, functions_named
from backstride.benchmarks.suites import Shape, select, suite_names
from backstride.kernels.operation import Function

OURS = Peer("backstride", "ours", Workload.prepare, to_numpy)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("backstride")
    group.addoption("--suite", action="append", choices=suite_names(), help="a whole suite (default: the quick subset)")
    group.addoption("--dtype", default="float32", help="of the arrays")
    group.addoption("--all-peers", action="store_true", help="every peer that works here (default: the first)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A benchmark for every contestant of every operation on every shape of the module's FAMILY."""
    option = metafunc.config.getoption
    peers = find_peers().choose(["all"] if option("--all-peers") else [])
    chosen = [
        pytest.param((shape, function, peer), id=f"{function.name} {shape.text} {peer.name}")
        for shape in select(option("--suite") or (), quick=not option("--suite"))
        for function in functions_named(())
        for peer in (OURS, *peers)
        if shape.family == metafunc.module.FAMILY and takes(function, shape, option("--dtype"))
    ]
    metafunc.parametrize("contestant", chosen, indirect=True)


@lru_cache(maxsize=1)
def _case(shape: Shape, function: Function, dtype: str) -> tuple[Workload, tuple[np.ndarray, ...]]:
    case = next(cases([shape], [function], dtype, default_batch()))
    return case, exact(case)


@pytest.fixture
def contestant(request: pytest.FixtureRequest, benchmark: Any) -> Iterator[Callable[[], Any]]:
    """The call to time, right by now; it waits for the device."""
    shape, function, peer = request.param
    case, expected = _case(shape, function, request.config.getoption("--dtype"))
    with peer.scope():
        try:
            call = peer.prepare(case)
            verdict = judge(case, call(), expected, peer.to_numpy, peer.tolerance)
        except NotImplementedError as declined:
            pytest.skip(f"{peer.name}: {declined}")
        assert verdict.fault is None, f"{peer.name}, {case.label}: {verdict.fault}"
        benchmark.group = f"{case.group}, {case.label}"
        benchmark.extra_info |= {
            "contestant": peer.description,
            "shape": case.label,
            "source": case.source,
            "dtype": case.dtype,
            "flops": case.flops,
            "bytes": case.bytes,
            "error": verdict.error,
        }

        def synchronized() -> None:
            call()
            synchronize()

        yield synchronized
        if get_backend() == "cupy" and benchmark.enabled:
            benchmark.extra_info["device_seconds"] = make_timer().sample(call, 20)[1]
