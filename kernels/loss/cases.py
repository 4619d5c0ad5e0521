"""The named shapes of losses that the parity tests and `backstride check` run."""

from __future__ import annotations

from typing import Any

from ..activation.cases import activation_cases
from ..operation import Case


def _cross_entropy(name: str, x: tuple[int, ...], axis: int = 1, **options: Any) -> Case:
    return Case(name, x, options={"axis": axis, **options})


CROSS_ENTROPY = (
    _cross_entropy("rows", (5, 7)),
    _cross_entropy("columns", (7, 5), 0),
    _cross_entropy("one-class", (4, 1)),
    _cross_entropy("a-warp-each", (3, 150)),
    _cross_entropy("a-block-each", (2, 2100), label_smoothing=0.25),
    _cross_entropy("several-blocks", (700, 3)),
    _cross_entropy("classes-of-pixels", (2, 5, 7, 9)),
    _cross_entropy("smoothed", (6, 9), label_smoothing=0.1),
    _cross_entropy("ignored", (9, 4), ignore_index=2),
    _cross_entropy("weighted", (9, 4), weight=True),
    _cross_entropy("all-options", (2, 5, 3, 4), label_smoothing=0.3, ignore_index=1, weight=True),
    _cross_entropy("several-blocks-weighted", (600, 4), ignore_index=3, weight=True),
    _cross_entropy("empty-batch", (0, 4)),
)
ELEMENT_LOSS = activation_cases()
