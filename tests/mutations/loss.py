"""Faults planted in the kernels of losses."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels

from .planted import RACE, WRONG, Planted, integers, shown

LOSSES = {
    "warps replaced while they are read": ("cross_entropy", "__syncthreads();  // what was", ";  // what was", RACE),
    "a class beside the label's": ("cross_entropy", "k == label", "k == label + 1", WRONG),
    "pixels of other images": ("cross_entropy", "row.first + label * params.rows.inner.divisor", "row.first", WRONG),
    "ignored samples counted": ("label_weights", "label == params.ignored) weight = 0", "false) weight = 0", WRONG),
    "ignored samples learned from": ("cross_entropy", "ignored ? Acc(0) :", "false ? Acc(0) :", WRONG),
    "blocks forgotten": ("loss_sum", "i < params.number", "i < 1", WRONG),
}


def evidence_of_losses(cupy: ModuleType) -> str:
    """What the cross entropy of pixels, some of them ignored, and of rows of a block each shows in four decimals."""
    labels = np.random.default_rng(0).integers(0, 4, (8, 8, 8))
    for shape, wanted in (((8, 4, 8, 8), labels), ((2, 4096), labels[0, 0, :2])):
        x = integers(*shape)
        for i in range(2):
            options = {"ignore_index": int(labels[0, 0, 0]), "label_smoothing": 0.5} if len(shape) > 2 else {}
            found = shown(cupy, lambda x, n, i=i, o=options: kernels.cross_entropy(x, n, **o)[i].round(4), x, wanted)
            if found:
                return found
    return ""


PLANTED = {
    "losses": Planted(LOSSES, evidence_of_losses),
}
