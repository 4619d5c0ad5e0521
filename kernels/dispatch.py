"""Which path computes a call: data says where it lives, so NumPy arrays run on cpu/ and CuPy arrays on cuda/."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from ..backend import get_backend, is_cupy


def path_of(array: Any) -> Any:
    """The path package for this array: its functions have the same names and arguments in every path."""
    if not is_cupy(array):
        return _package("cpu")
    cuda = _package("cuda")
    if get_backend() == "compare":
        from .compare import Comparing

        return Comparing(cuda)
    return cuda


@cache
def _package(name: str) -> Any:
    """A path's package, imported when it is first needed."""
    return import_module(f".{name}", __package__)
