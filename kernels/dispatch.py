"""Which path computes a call: data says where it lives, so NumPy arrays run on cpu/ and CuPy arrays on cuda/."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any

from ..backend import get_backend, is_cupy

wrapper: ContextVar[Callable[[Any], Any] | None] = ContextVar("backstride_wrapper", default=None)
"""What is put around a path, where its calls are recorded."""


def path_of(array: Any) -> Any:
    """The path for this array: its functions have the same names and arguments in every path."""
    path, wrap = _path_of(array), wrapper.get()
    return path if wrap is None else wrap(path)


def _path_of(array: Any) -> Any:
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
