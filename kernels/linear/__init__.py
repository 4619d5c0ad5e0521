"""Fully connected layers and their gradients."""

from .functions import (
    linear,
    linear_bias_grad,
    linear_grads,
    linear_input_grad,
    linear_parameter_grads,
    linear_weight_grad,
)

__all__ = [
    "linear",
    "linear_bias_grad",
    "linear_grads",
    "linear_input_grad",
    "linear_parameter_grads",
    "linear_weight_grad",
]
