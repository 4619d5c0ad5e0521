"""Cross entropy with its gradient. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "loss"


def test_loss(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
