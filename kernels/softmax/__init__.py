"""Softmax and its logarithm, and their gradients."""

from .functions import log_softmax, log_softmax_grad, softmax, softmax_grad

__all__ = ["log_softmax", "log_softmax_grad", "softmax", "softmax_grad"]
