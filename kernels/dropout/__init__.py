"""Dropout by a counter-based generator."""

from .functions import dropout

__all__ = ["dropout"]
