"""A named choice that holds for the process, from an environment variable or a call, or inside a with block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


def environment(variable: str) -> str | None:
    """The value of an environment variable; None where it is unset or empty."""
    return os.environ.get(variable, "").strip() or None


def name_of(label: str, on: bool) -> str:
    """The name of a switch that is on or off; TypeError for what is no bool."""
    if not isinstance(on, bool):
        raise TypeError(f"{label}: on is {on!r}; expected True or False")
    return "1" if on else "0"


class Switch:
    """One of `names`; the environment `variable` is read at the first `get`, `names[0]` where it is unset or empty.

    resolve(name) gives what `get` returns for a name, or raises; the choice in force then stays.
    """

    def __init__(
        self, label: str, names: tuple[str, ...], variable: str, resolve: Callable[[str], str] = lambda name: name
    ) -> None:
        self.label, self.names, self.variable = label, names, variable
        self._resolve = resolve
        self._process: str | None = None
        self._context: ContextVar[str | None] = ContextVar(variable.lower(), default=None)

    def set(self, name: str) -> None:
        """Choose for the whole process. ValueError for an unknown name."""
        self._process = self._named(name, self.label)

    @contextmanager
    def use(self, name: str) -> Iterator[None]:
        """Choose inside a with block, for this thread or async task only. ValueError for an unknown name."""
        token = self._context.set(self._named(name, self.label))
        try:
            yield
        finally:
            self._context.reset(token)

    def get(self) -> str:
        scoped = self._context.get()
        if scoped is not None:
            return scoped
        if self._process is None:
            self._process = self._named(environment(self.variable) or self.names[0], self.variable)
        return self._process

    def _named(self, name: str, source: str) -> str:
        if name not in self.names:
            raise ValueError(f"{source} is {name!r}; expected one of {', '.join(self.names)}")
        return self._resolve(name)
