"""Timing every candidate of a product on the GPU that is here, and the file that keeps the fastest."""

from .session import tuning

__all__ = ["tuning"]
