"""The operations: each checks its arguments, fixes the geometry, and runs the path its arrays live on."""

from .conv import (
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
    conv_transpose2d,
)
from .linear import (
    linear,
    linear_bias_grad,
    linear_grads,
    linear_input_grad,
    linear_parameter_grads,
    linear_weight_grad,
)
from .pool import avg_pool2d, avg_pool2d_grad, max_pool2d, max_pool2d_grad, max_pool2d_indices

__all__ = [
    "avg_pool2d",
    "avg_pool2d_grad",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_parameter_grads",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "linear",
    "linear_bias_grad",
    "linear_grads",
    "linear_input_grad",
    "linear_parameter_grads",
    "linear_weight_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_indices",
]
