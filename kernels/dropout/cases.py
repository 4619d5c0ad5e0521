"""The named shapes of dropout that the parity tests and `backstride check` run."""

from __future__ import annotations

from typing import Any

from ..operation import Case


def _dropout(name: str, x: tuple[int, ...], **options: Any) -> Case:
    return Case(name, x, options={"p": 0.5, "seed": 0, **options})


DROPOUT = (
    _dropout("image", (2, 3, 7, 5)),
    _dropout("one-element", (1,), seed=3),
    _dropout("whole-vectors", (4, 8), p=0.25),
    _dropout("tail", (3, 5, 7), p=0.1, seed=2**64 - 1),
    _dropout("several-blocks", (3, 1031), p=0.9, seed=2**40 + 5),
    _dropout("all-kept", (3, 5), p=0.0),
    _dropout("all-dropped", (3, 5), p=1.0),
    _dropout("empty-batch", (0, 3, 4)),
)
