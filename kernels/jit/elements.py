"""Loops over the elements of arrays of one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ..cpu.pieces import Box, cut, whole
from .blocks import over_blocks
from .compiled import contiguous, is_ready

WORTH = 1 << 19  # elements: fewer are not worth a second thread
PART = 1 << 17  # elements; of arrays with gaps so many are copied at a time


def at(values: Any, j: Any) -> Any:
    """In compiled loops: element j of an array, or what is one number for all."""


@overload(at, inline="always")
def _at(values, j):
    return (lambda values, j: values[j]) if isinstance(values, types.Array) else (lambda values, j: values)


def over_elements(loop: Callable[..., None], inputs: tuple[np.ndarray, ...], output: np.ndarray, *others: Any) -> None:
    """loop(*inputs, output, *others) on parts of the arrays, which it gets as lines, on several threads where there
    are many elements."""
    size = output.size
    if size <= WORTH and all(map(is_ready, inputs)):
        loop(*[a.reshape(-1) for a in inputs], output.reshape(-1), *others)
        return
    if all(a.flags.c_contiguous for a in inputs):
        lines = [a.reshape(-1) for a in (*contiguous(*inputs), output)]

        def work(low: int, high: int) -> None:
            loop(*(line[low * PART : high * PART] for line in lines), *others)

        over_blocks(work, -(-size // PART), size // WORTH, output.dtype)
        return

    boxes = list(cut(whole(*output.shape), PART))

    def copied(low: int, high: int) -> None:
        for box in boxes[low:high]:
            loop(*_lines(inputs, output, box), *others)

    over_blocks(copied, len(boxes), size // WORTH, output.dtype)


def sum_over_elements(
    loop: Callable[..., float], inputs: tuple[np.ndarray, ...], output: np.ndarray, *others: Any
) -> np.float64:
    """The sum of what the loop returns for each part."""
    boxes = list(cut(whole(*output.shape), PART))
    sums = np.empty(len(boxes))

    def work(low: int, high: int) -> None:
        for number in range(low, high):
            sums[number] = loop(*_lines(inputs, output, boxes[number]), *others)

    over_blocks(work, len(boxes), output.size // WORTH, output.dtype)
    total: np.float64 = sums.sum()
    return total


def _lines(inputs: tuple[np.ndarray, ...], output: np.ndarray, box: Box) -> list[np.ndarray]:
    """The part of each array in the box, a copy where an input has gaps."""
    return [a.reshape(-1) for a in (*contiguous(*(a[box] for a in inputs)), output[box])]
