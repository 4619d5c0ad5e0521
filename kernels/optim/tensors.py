"""What a step of an optimizer works on, on one device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rules import Options

PIECE, LANES = 4096, 256
"""The elements that a block takes of an array, and how many sums of squares it keeps: both fix the bits of a norm."""


@dataclass
class Tensor:
    """A parameter, number `number` of its optimizer, and what belongs to it.

    state: the arrays that its rule keeps, by slot, like data in shape. master: 16-bit data in float32, else None.
    """

    number: int
    group: int
    options: Options
    state: dict[str, Any]
    master: Any
    data: Any
    grad: Any = None


@dataclass
class Control:
    """What changes from step to step, in arrays where the parameters are: a captured step counts on.

    steps: taken so far, int64. counts: by parameter, since one without a gradient takes no part. rates: each group's
    learning rate, float64. schedule: their factor at each step, its last entry for all further ones. scale, float64,
    and skip, bool: what the next step multiplies gradients by, and whether it is left out; a step sets them back.
    """

    steps: Any
    counts: Any
    rates: Any
    schedule: Any
    scale: Any
    skip: Any


def by_kind(tensors: Iterable[Tensor]) -> dict[tuple[np.dtype, np.dtype], list[Tensor]]:
    """Those that have elements, by the dtypes of data and gradient: a launch serves one kind."""
    kinds: dict[tuple[np.dtype, np.dtype], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.data.size:
            kinds.setdefault((tensor.data.dtype, tensor.grad.dtype), []).append(tensor)
    return kinds
