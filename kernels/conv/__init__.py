"""Convolution, its gradients, and its transpose."""

from .functions import (
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
    conv_transpose2d,
)

__all__ = [
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_parameter_grads",
    "conv2d_weight_grad",
    "conv_transpose2d",
]
