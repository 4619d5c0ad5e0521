"""How the kernels of rows_of_classes.cuh share rows among threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from .geometry import SoftmaxGeometry

THREADS = 256


def launch_rows(name: str, g: SoftmaxGeometry, dtype: np.dtype, defines: dict[str, object], **values: Any) -> None:
    """Launch a kernel of rows_of_classes.cuh."""
    rows = g.outer * g.inner
    check_index("softmax", rows=rows, elements_of_a_row=g.length)
    defines = {"TYPE": C_TYPES[dtype.name], "THREADS": THREADS, "LANES": lanes(g), **defines}
    layout = {"number": rows, "length": g.length, "inner": fast_div(g.inner)}
    launch(f"{name}.cu", name, defines, blocks(g), THREADS, 0, rows=layout, **values)


def lanes(g: SoftmaxGeometry) -> int:
    """Threads to a row: one where neighbouring threads then read neighbouring elements, else as rows are long."""
    if g.inner >= 32:
        return 1
    return next((few for few, length in ((1, 4), (8, 64), (32, 2048)) if g.length <= length), THREADS)


def blocks(g: SoftmaxGeometry) -> int:
    return -(-g.outer * g.inner * lanes(g) // THREADS)
