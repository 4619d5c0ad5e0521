"""Faults planted in the kernels of softmax."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels

from .planted import NAN, RACE, WRONG, Planted, shown

SOFTMAX = {
    "half of the lanes never heard": ("softmax", "/ 2; mask > 0", "/ 2; mask > 1", WRONG),
    "warps read before all are there": ("softmax", "= mine;\n        __syncthreads();", "= mine;", RACE),
    "the last elements of a row forgotten": ("softmax", "row.count; i++", "row.count - 1; i++", f"{WRONG}|{NAN}"),
    "rows past the last": ("softmax", "inside = index < rows.number", "inside = true", "out-of-bounds"),
    "another row's elements": ("softmax", "* rows.length * pitch + inner", "* rows.length * pitch", f"{NAN}|{WRONG}"),
    "the largest not taken off": ("softmax", "load(params.x[at]), -largest)", "load(params.x[at]), Acc(0))", WRONG),
}


def evidence_of_softmax(cupy: ModuleType) -> str:
    """What rows of a block, of a warp and of a thread show, of numbers so far apart that one is 1."""
    for shape, axis in (((2, 2100), 1), ((3, 150), 1), ((2, 5, 7, 9), 1)):
        x = 200 * np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype("f4")
        found = shown(cupy, lambda x, axis=axis: kernels.softmax(x, axis), x)
        if found:
            return found
    return ""


PLANTED = {
    "softmax": Planted(SOFTMAX, evidence_of_softmax),
}
