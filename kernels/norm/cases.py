"""The named configurations of normalisation that the parity tests and `backstride check` run.

Small enough for a slow emulator, and awkward on purpose: a shape earns its place by a mistake that only it would show.
"""

from __future__ import annotations

from typing import Any

from ..layout import NHWC
from ..operation import Case


def _norm(name: str, *x: int, **options: Any) -> Case:
    return Case(name, x, options=options)


BATCH_NORM = (
    _norm("images", 4, 3, 5, 3),
    _norm("samples", 37, 6),
    _norm("sequences", 3, 5, 7, eps=0.25),
    _norm("volumes", 2, 3, 2, 3, 4),
    _norm("one-value-a-channel", 1, 4, 1, 1),
    _norm("two-values-a-channel", 2, 3),
    _norm("empty-batch", 0, 3, 4, 4),
    _norm("whole-words", 2, 3, 8, 8),
    _norm("small-planes", 9, 5, 2, 2),
    _norm("channels-cross-block", 2, 300, 3),
    _norm("parts-of-samples", 70, 6, activation="relu"),
    _norm("parts-of-images", 5, 2, 29, 31),
    _norm("parts-with-relu", 5, 2, 29, 31, activation="relu"),
    _norm("parts-with-residual-and-relu", 5, 2, 29, 31, activation="relu", residual=True),
    _norm("relu", 4, 3, 5, 3, activation="relu"),
    _norm("residual", 4, 3, 4, 4, residual=True),
    _norm("residual-and-relu", 4, 3, 5, 3, activation="relu", residual=True),
    _norm("nhwc-images", 4, 5, 3, 3, layout=NHWC),
    _norm("nhwc-whole-words", 2, 5, 3, 16, layout=NHWC),
    _norm("nhwc-samples", 7, 5, layout=NHWC),
    _norm("nhwc-volumes", 2, 2, 3, 4, 3, layout=NHWC, eps=0.25),
    _norm("nhwc-empty-batch", 0, 4, 4, 3, layout=NHWC),
    _norm("nhwc-parts-with-relu", 5, 29, 31, 6, layout=NHWC, activation="relu"),
    _norm("nhwc-parts-with-residual-and-relu", 3, 29, 31, 20, layout=NHWC, activation="relu", residual=True),
)

GROUP_NORM = (
    _norm("groups", 3, 6, 5, 4, num_groups=3),
    _norm("one-group", 2, 6, 3, 3, num_groups=1),
    _norm("every-channel", 2, 6, 4, 4, num_groups=6),
    _norm("samples", 5, 8, num_groups=2),
    _norm("sequences", 3, 6, 7, num_groups=2, eps=0.25),
    _norm("volumes", 2, 4, 2, 3, 3, num_groups=2),
    _norm("one-value-a-group", 3, 4, 1, num_groups=4),
    _norm("empty-batch", 0, 4, 3, 3, num_groups=2),
    _norm("groups-cross-block", 33, 16, 3, num_groups=16),
    _norm("parts-of-groups", 1, 4, 47, 49, num_groups=2),
)

LAYER_NORM = (
    _norm("features", 5, 16, normalized_shape=16),
    _norm("odd-features", 7, 33, normalized_shape=33),
    _norm("images", 3, 4, 5, 3, normalized_shape=(4, 5, 3)),
    _norm("last-axes", 2, 3, 4, 6, normalized_shape=(4, 6), eps=0.25),
    _norm("one-feature", 6, 1, normalized_shape=1),
    _norm("empty-batch", 0, 4, normalized_shape=4),
    _norm("no-batch", 9, normalized_shape=9),
    _norm("many-samples", 300, 5, normalized_shape=5),
    _norm("a-block-a-row", 3, 1030, normalized_shape=1030),
    _norm("parts-of-rows", 2, 4611, normalized_shape=4611),
)
