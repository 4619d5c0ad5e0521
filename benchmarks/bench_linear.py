"""Fully connected layers: forward, dx, dw and db. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "linear"


def test_linear(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
