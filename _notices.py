"""The one channel of what the package says unasked: the logger "backstride", silent until a program listens to it."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger("backstride")
logger.addHandler(logging.NullHandler())


def tell_of_compiling(what: str, seconds: float) -> None:
    """Aloud where it took long; what CuPy has on disk takes milliseconds."""
    level = logging.INFO if seconds > 1 else logging.DEBUG
    logger.log(level, f"{what}: compiled, or found in CuPy's cache, in {seconds:.1f} s")


@cache
def warn_once(text: str) -> None:
    """A warning, once in this process however often it is met."""
    logger.warning(text)
