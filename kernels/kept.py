"""What is worked out once and kept: geometries for equal arguments, and their hashes."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_MOST_KEPT = 4096


def kept(of: F) -> F:
    """A constructor, under @classmethod, that is checked and computed once for equal arguments.

    They are equal where their pickles are: those tell True from 1 and 1 from 1.0 at any depth, and a list needs no
    hash. What cannot be pickled is computed anew, and so is what raised.
    """
    found: dict[tuple[type, bytes], Any] = {}

    @functools.wraps(of)
    def call(cls: type, *arguments: Any, **options: Any) -> Any:
        try:
            key = cls, pickle.dumps((arguments, options), 5)
        except Exception:
            return of(cls, *arguments, **options)
        result = found.get(key)
        if result is None:
            result = of(cls, *arguments, **options)
            if len(found) >= _MOST_KEPT:
                found.clear()
            found[key] = result
        return result

    return call  # type: ignore[return-value]


def hashed_once(cls: type[T]) -> type[T]:
    """A frozen dataclass whose objects work out their hash once: those of geometries are asked for at every launch."""
    compute: Callable[[Any], int] = cls.__hash__

    def hash_(self: Any) -> int:
        try:
            known: int = self._hash
        except AttributeError:
            known = self.__dict__["_hash"] = compute(self)
        return known

    cls.__hash__ = hash_  # type: ignore[method-assign]
    return cls
