"""What follows a product in compiled loops: a bias is added and an activation applied, in one pass over the results."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import compiled, contiguous
from .elements import at


def kink_of(activation: str | None, dtype: np.dtype) -> Any:
    """What loops know of an activation: a result that is at most this number becomes 0. For none it is NaN, which
    nothing is at most."""
    return dtype.type(np.nan if activation is None else 0)


def bias_of(b: np.ndarray | None, size: int, activation: str | None, dtype: np.dtype) -> np.ndarray | None:
    """The bias (size,) as loops take it, zeros where there is an activation alone; None where nothing follows."""
    if b is None:
        return None if activation is None else np.zeros(size, dtype)
    return contiguous(b)[0].reshape(-1)


@compiled
def end_line(line, bias, kink):
    """bias: one number, or an array of one for each element."""
    zero = line.dtype.type(0)
    for j in range(line.size):
        value = line[j] + at(bias, j)
        line[j] = zero if value <= kink else value


@compiled
def end_rows(y, bias, kink, low, high):
    """The columns low:high of y, whose rows have the numbers of bias, again and again."""
    for i in range(len(y)):
        end_line(y[i, low:high], bias[i % bias.size], kink)


@compiled
def end_columns(y, bias, kink, low, high):
    """The columns low:high of y, each with a number of bias."""
    for i in range(len(y)):
        end_line(y[i, low:high], bias[low:high], kink)
