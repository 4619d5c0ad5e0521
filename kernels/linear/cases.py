"""The named configurations of fully connected layers that the parity tests and `backstride check` run.

Small enough for a slow emulator, and awkward on purpose: a shape earns its place by a mistake that only it would show.
"""

from __future__ import annotations

from dataclasses import replace

from ..operation import Case


def _linear(name: str, samples: int, features: int, outputs: int) -> Case:
    return Case(name, (samples, features), (outputs, features))


LINEAR = (
    _linear("backprop-text", 10, 50, 32),
    _linear("one-of-each", 1, 1, 1),
    _linear("one-sample", 1, 17, 9),
    _linear("one-feature", 5, 1, 7),
    _linear("one-output", 6, 13, 1),
    _linear("empty-batch", 0, 5, 3),
    _linear("crosses-tiles", 67, 35, 33),
    _linear("deep", 3, 515, 2),
)
"""Fully connected, for both layouts; written for batch_axis=0."""

LINEAR_COLUMNS = tuple(replace(case, name=f"{case.name}-columns", options={"batch_axis": 1}) for case in LINEAR)

LINEAR_RELU = tuple(
    replace(case, name=f"{case.name}-relu", options={**case.options, "activation": "relu"})
    for case in LINEAR + LINEAR_COLUMNS
    if case.x[0] in (0, 10, 67)
)
"""A small product, a larger one, and none."""
