"""The launches of activations on CUDA, also in the place of another operation's results."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import launch
from ..cuda.runtime.loader import C_TYPES

F = TypeVar("F", bound=Callable[..., Any])

THREADS = 256


def launch_elements(name: str, function: str, result: Any, **arrays: Any) -> None:
    """`function` is what activations.cuh calls it, with the values that it is made of."""
    if result.size == 0:
        return
    dtype: np.dtype = result.dtype
    vec = ALIGNMENT // dtype.itemsize
    defines = {"TYPE": C_TYPES[dtype.name], "FUNCTION": function, "VEC": vec, "THREADS": THREADS}
    blocks = -(-result.size // (vec * THREADS))
    launch(f"{name}.cu", name, defines, blocks, THREADS, 0, size=result.size, **arrays)


def activated(compute: F) -> F:
    """A path's function whose geometry may have an activation: one more launch, in place."""

    @wraps(compute)
    def call(*arguments: Any) -> Any:
        y = compute(*arguments)
        return y if arguments[-1].activation is None else _relu(y)

    return call  # type: ignore[return-value]


@launcher
def _relu(y: Any) -> Any:
    launch_elements("activation", "Relu{}", y, x=y, y=y)
    return y
