"""Batch normalisation and its gradients. Run with `pytest benchmarks`; the shapes are in suites.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FAMILY = "norm"


def test_norm(benchmark: Callable[..., Any], contestant: Callable[[], None]) -> None:
    benchmark(contestant)
