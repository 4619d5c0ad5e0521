"""Input that a command cannot use."""

from __future__ import annotations


class CommandError(Exception):
    """Its message is shown on one line after `backstride: error:`, and the exit status is 2."""
