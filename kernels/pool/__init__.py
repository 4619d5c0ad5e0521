"""Max and average pooling and their gradients."""

from .functions1d import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_grad,
    avg_pool1d,
    avg_pool1d_grad,
    max_pool1d,
    max_pool1d_grad,
    max_pool1d_indices,
)
from .functions2d import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_indices,
)
from .functions3d import (
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_grad,
    avg_pool3d,
    avg_pool3d_grad,
    max_pool3d,
    max_pool3d_grad,
    max_pool3d_indices,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_grad",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_grad",
    "avg_pool1d",
    "avg_pool1d_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "avg_pool3d",
    "avg_pool3d_grad",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool1d_indices",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_indices",
    "max_pool3d",
    "max_pool3d_grad",
    "max_pool3d_indices",
]
