"""Faults planted in the kernels of dropout."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels

from .planted import WRONG, Planted, shown

DROPOUT = {
    "a round less": ("dropout", "round < 10", "round < 9", WRONG),
    "words change places": ("dropout", "a = c_high ^ b ^ key0", "a = a_high ^ b ^ key0", WRONG),
    "the second half of a key": ("dropout", "params.key0, params.key1)", "params.key0, params.key0)", WRONG),
    "the step forgotten": ("dropout", "position[1], position[2]", "position[1], position[1]", WRONG),
    "each vector the same words": ("dropout", "words.at[i + j]", "words.at[0]", WRONG),
    "what equals the threshold": ("dropout", "< params.threshold ?", "> params.threshold ?", WRONG),
}


def evidence_of_dropout(cupy: ModuleType) -> str:
    """What the mask of a block and a tail shows."""
    position = np.array([3, 1, 2], np.uint32)
    x = np.ones((3, 347), np.float32)
    return shown(cupy, lambda x, position: kernels.dropout(x, position, p=0.5, seed=2**40 + 7), x, position)


PLANTED = {
    "dropout": Planted(DROPOUT, evidence_of_dropout),
}
