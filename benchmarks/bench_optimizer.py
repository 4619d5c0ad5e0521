"""Steps of optimizers. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "optimizer"


def test_optimizer(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
