"""Pooling in blocks of planes, over threads."""

from .blocked_avg_pool2d import avg_pool2d, avg_pool2d_grad
from .blocked_max_pool2d import max_pool2d, max_pool2d_grad, max_pool2d_indices

__all__ = ["avg_pool2d", "avg_pool2d_grad", "max_pool2d", "max_pool2d_grad", "max_pool2d_indices"]
