"""Whether NumPy arrays run on compiled loops, where Numba is installed, or on plain NumPy alone.

The environment variable BACKSTRIDE_JIT: 1 asks for the compiled loops, 0 for NumPy alone; where it is unset they are
taken if Numba can be imported. `backstride info` says which and why.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module

from ._extras import MissingExtraError
from ._switch import Switch, name_of

VARIABLE = "BACKSTRIDE_JIT"
PATIENCE = 1.0  # seconds of compiling before somebody is told


def set_jit(on: bool) -> None:
    """Run NumPy arrays on compiled loops, or on plain NumPy alone, in the whole process.

    Raises MissingExtraError where the loops are asked for and Numba cannot be imported; the choice in force stays.
    """
    _switch.set(name_of("jit", on))


def use_jit(on: bool) -> AbstractContextManager[None]:
    """As set_jit, inside a with block, for this thread or async task only."""
    return _switch.use(name_of("jit", on))


def get_jit() -> bool:
    """Whether NumPy arrays run on compiled loops; BACKSTRIDE_JIT is read at the first call."""
    return _switch.get() == "1"


@cache
def missing() -> str | None:
    """Why there are no compiled loops; None where there are."""
    try:
        import_module("numba")
    except ImportError as error:
        return str(error)
    return None


def _resolved(name: str) -> str:
    if name == "1" and missing():
        raise MissingExtraError(f"compiled loops need Numba ({missing()}); pip install 'backstride[fast]'")
    return "0" if name == "auto" and missing() else "1" if name == "auto" else name


_switch = Switch("jit", ("auto", "0", "1"), VARIABLE, _resolved)
