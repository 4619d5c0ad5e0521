"""The named shapes of softmax that the parity tests and `backstride check` run."""

from __future__ import annotations

from ..operation import Case


def _softmax(name: str, x: tuple[int, ...], axis: int = -1) -> Case:
    return Case(name, x, options={"axis": axis})


SOFTMAX = (
    _softmax("rows", (5, 7)),
    _softmax("two-classes", (9, 2)),
    _softmax("one-class", (4, 1)),
    _softmax("one-row", (10,)),
    _softmax("a-warp-each", (3, 150)),
    _softmax("a-block-each", (2, 2100)),
    _softmax("columns", (6, 40), 0),
    _softmax("classes-of-pixels", (2, 5, 7, 9), 1),
    _softmax("few-pixels", (2, 11, 2, 3), 1),
    _softmax("negative-axis", (2, 3, 4, 5), -2),
    _softmax("rows-cross-block", (300, 3)),
    _softmax("empty-batch", (0, 4)),
)
