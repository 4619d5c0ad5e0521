"""Which path computes a call: data says where it lives, so NumPy arrays run on `cpu` and CuPy arrays on `cuda`.

A path is one module in each room, `conv/cuda.py`, `pool/cuda.py`, ..., whose functions have the same names and
arguments in every path.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any

from ..backend import get_backend, is_cupy

ROOMS = ("conv", "linear", "pool")

wrapper: ContextVar[Callable[[Any], Any] | None] = ContextVar("backstride_wrapper", default=None)
"""What is put around a path, where its calls are recorded."""


class Path:
    """All rooms' functions on one path; a room's module is imported when it is first needed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        for room in ROOMS:
            module = import_module(f".{room}.{self.name}", __package__)
            if hasattr(module, operation):
                found: Callable[..., Any] = getattr(module, operation)
                setattr(self, operation, found)
                return found
        raise AttributeError(f"the path {self.name} has no {operation}")


cpu = Path("blocked")
cuda = Path("cuda")


def path_of(array: Any) -> Any:
    """The path for this array: its functions have the same names and arguments in every path."""
    path, wrap = _path_of(array), wrapper.get()
    return path if wrap is None else wrap(path)


def _path_of(array: Any) -> Any:
    if not is_cupy(array):
        return cpu
    if get_backend() == "compare":
        return _comparing()
    return cuda


@cache
def _comparing() -> Any:
    from .compare import Comparing

    return Comparing(cuda)
