"""Max and average pooling and their gradients."""

from .functions import avg_pool2d, avg_pool2d_grad, max_pool2d, max_pool2d_grad, max_pool2d_indices

__all__ = ["avg_pool2d", "avg_pool2d_grad", "max_pool2d", "max_pool2d_grad", "max_pool2d_indices"]
