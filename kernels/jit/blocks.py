"""Blocks of a call, on several threads where there is enough work for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..cpu import threads

WORTH = 1 << 23  # flops of products: fewer are not worth a second thread
PARTS = 8  # of a call for each thread, at most: handing one over takes some ten microseconds


def over_blocks(work: Callable[..., None], count: int, worth: int, dtype: np.dtype, *scratch: int) -> None:
    """work(low, high, *arrays) for spans that cover range(count); the arrays have so many elements and hold anything.

    worth: how many times as much is to be done as is worth a second thread. Every block is computed alike: how many
    threads there are never shows in a result.
    """
    if not worth or count == 1 or (not scratch and threads.count() == 1):
        work(0, count, *(np.empty(size, dtype) for size in scratch))
        return

    def some(low: int, high: int) -> None:
        work(low, high, *threads.scratch(dtype, *((size,) for size in scratch)))

    step = -(-count // min(2 + worth, PARTS * threads.count()))  # a thread that wakes late then does less
    parts = [(low, min(count, low + step)) for low in range(0, count, step)]
    threads.run(some if scratch else work, parts, sum(scratch) * dtype.itemsize)
