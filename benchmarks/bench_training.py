"""A whole training step of a small CNN. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "training"


def test_training(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
