"""Which path computes a call: data says where it lives, so NumPy arrays run on cpu/ and CuPy arrays on cuda/."""

from __future__ import annotations

from typing import Any

from ..backend import get_backend, is_cupy


def path_of(array: Any) -> Any:
    """The path package for this array: its functions have the same names and arguments in every path."""
    if not is_cupy(array):
        from . import cpu

        return cpu
    from . import cuda

    if get_backend() == "compare":
        from .compare import Comparing

        return Comparing(cuda)
    return cuda
