"""Max and average pooling: forward and gradient. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "pool"


def test_pool(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
