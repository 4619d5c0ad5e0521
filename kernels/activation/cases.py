"""The named shapes of activations that the parity tests and `backstride check` run."""

from __future__ import annotations

from typing import Any

from ..operation import Case


def activation_cases(**options: Any) -> tuple[Case, ...]:
    """Whole vectors of every dtype, a tail behind them, several blocks, and any number of axes."""
    return (
        Case("image", (2, 3, 7, 5), options=options),
        Case("one-element", (1,), options=options),
        Case("whole-vectors", (4, 8), options=options),
        Case("tail", (3, 5, 7), options=options),
        Case("several-blocks", (3, 1031), options=options),
        Case("one-block", (1, 1024), options=options),
        Case("empty-batch", (0, 3, 4), options=options),
        Case("five-axes", (2, 1, 3, 2, 3), options=options),
    )
