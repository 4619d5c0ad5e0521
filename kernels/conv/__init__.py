"""Convolution, its gradients, and its transpose."""

from .functions1d import (
    conv1d,
    conv1d_bias_grad,
    conv1d_grads,
    conv1d_input_grad,
    conv1d_parameter_grads,
    conv1d_weight_grad,
    conv_transpose1d,
)
from .functions2d import (
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
    conv_transpose2d,
)
from .functions3d import (
    conv3d,
    conv3d_bias_grad,
    conv3d_grads,
    conv3d_input_grad,
    conv3d_parameter_grads,
    conv3d_weight_grad,
    conv_transpose3d,
)

__all__ = [
    "conv1d",
    "conv1d_bias_grad",
    "conv1d_grads",
    "conv1d_input_grad",
    "conv1d_parameter_grads",
    "conv1d_weight_grad",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_parameter_grads",
    "conv2d_weight_grad",
    "conv3d",
    "conv3d_bias_grad",
    "conv3d_grads",
    "conv3d_input_grad",
    "conv3d_parameter_grads",
    "conv3d_weight_grad",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]
