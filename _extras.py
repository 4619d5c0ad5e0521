"""Optional packages: what to say where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class MissingExtraError(ImportError):
    """A feature was used whose optional package is not installed; the message has the pip command."""


@contextmanager
def needed_for(feature: str, extra: str = "cli") -> Iterator[None]:
    """Around the import of an optional package: a missing one raises MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        message = f"{feature} needs the package {package!r}: pip install 'backstride[{extra}]'"
        raise MissingExtraError(message, name=error.name) from error


def ml_dtypes() -> Any:
    """The package that makes NumPy know bfloat16. MissingExtraError without it."""
    with needed_for("bfloat16", "bfloat16"):
        import ml_dtypes
    return ml_dtypes
