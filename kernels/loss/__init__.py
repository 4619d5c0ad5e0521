"""Losses with their gradients."""

from .functions import bce_with_logits, cross_entropy, mse

__all__ = ["bce_with_logits", "cross_entropy", "mse"]
