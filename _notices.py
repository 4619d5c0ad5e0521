"""The one channel of what the package says unasked: the logger "backstride", silent until a program listens to it."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger("backstride")
logger.addHandler(logging.NullHandler())


@cache
def warn_once(text: str) -> None:
    """A warning, once in this process however often it is met."""
    logger.warning(text)
