"""Faults planted in the kernels of activations."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backstride import kernels

from .planted import NAN, WRONG, Planted, integers, shown

ACTIVATIONS = {
    "vectors that reach past the end": ("activation", "if (first + V <= size) return", "return", "out-of-bounds read"),
    "a tail that is not read": ("activation", "if (first + j < size) v.at[j] =", "if (false) v.at[j] =", WRONG),
    "a tail that is not written": ("activation", "if (first + j < size) p[", "if (false) p[", NAN),
    "a gradient stored past the end": ("activation_grad", "if (first + j < size) p[", "p[", "out-of-bounds write"),
    "vectors that overlap": ("activation_grad", "threadIdx.x) * VEC", "threadIdx.x) * (VEC - 1)", f"misaligned|{NAN}"),
    "NaN taken for a number": ("activation_grad", "greater(y, Acc(0)) || is_nan(y)", "greater(y, Acc(0))", WRONG),
    "the gradient of what was stopped": ("activation_grad", "greater(y, Acc(0))", "!greater(Acc(0), y)", WRONG),
}


def evidence_of_activations(cupy: ModuleType) -> str:
    """What the ReLU of a full block and a tail shows, and its gradient at NaN."""
    x, dy = integers(3, 347), integers(3, 347) + 9
    y = kernels.relu(x)
    y[0, ::5] = np.nan
    return shown(cupy, kernels.relu, x) or shown(cupy, kernels.relu_grad, dy, y)


PLANTED = {
    "activations": Planted(ACTIVATIONS, evidence_of_activations, several_blocks=True),
}
