"""Which path computes a call: data says where it lives, so NumPy arrays run on one path and CuPy arrays on another.

A path of a room is a module in it, such as `conv/cuda.py`, with the functions that the room's path.py lists.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property, partial
from typing import Any, Generic, TypeVar, cast

from ..backend import get_backend, is_cupy
from ..jit import get_jit
from .operation import CUDA, JIT, PLAIN, Compute, room_path
from .types import Array

Path = TypeVar("Path")

Watch = Callable[[str, Compute, tuple[Any, ...]], Any]
"""Makes a call of a path, given as the operation's name, its function and the arguments, and returns its result."""

watching: ContextVar[Watch | None] = ContextVar("backstride_watching", default=None)
"""What makes the calls in the place of the public functions, where somebody wants to know them."""


class Paths(Generic[Path]):
    """The paths of a room, each imported when it is first needed."""

    def __init__(self, room: str) -> None:
        self._room = room

    @cached_property
    def numpy(self) -> Path:
        return cast(Path, room_path(self._room, PLAIN))

    @cached_property
    def jit(self) -> Path:
        return cast(Path, room_path(self._room, JIT))

    @cached_property
    def cuda(self) -> Path:
        return cast(Path, room_path(self._room, CUDA))

    def of(self, array: Array) -> Path:
        """The path for this array."""
        path = self._on_cupy() if is_cupy(array) else self.jit if get_jit() else self.numpy
        watch = watching.get()
        return path if watch is None else cast(Path, _Watched(path, watch))

    def _on_cupy(self) -> Path:
        if get_backend() != "compare":
            return self.cuda
        from .compare import compared

        return cast(Path, _Watched(self.cuda, compared))


class _Watched:
    """A path whose calls `watch` makes."""

    def __init__(self, path: Any, watch: Watch) -> None:
        self._path, self._watch = path, watch

    def __getattr__(self, operation: str) -> Compute:
        return partial(self._call, operation, getattr(self._path, operation))

    def _call(self, operation: str, compute: Compute, *arguments: Any) -> Any:
        return self._watch(operation, compute, arguments)
