"""The operations: each checks its arguments, fixes the geometry, and runs the path its arrays live on."""

from .activation import (
    gelu,
    gelu_grad,
    hardswish,
    hardswish_grad,
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu6,
    relu6_grad,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    silu,
    silu_grad,
    tanh,
    tanh_grad,
)
from .activation.operations import OPERATIONS as _ACTIVATION
from .conv import (
    conv1d,
    conv1d_bias_grad,
    conv1d_grads,
    conv1d_input_grad,
    conv1d_parameter_grads,
    conv1d_weight_grad,
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
    conv3d,
    conv3d_bias_grad,
    conv3d_grads,
    conv3d_input_grad,
    conv3d_parameter_grads,
    conv3d_weight_grad,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .conv.operations import OPERATIONS as _CONV
from .dropout import dropout
from .dropout.operations import OPERATIONS as _DROPOUT
from .linear import (
    linear,
    linear_bias_grad,
    linear_grads,
    linear_input_grad,
    linear_parameter_grads,
    linear_weight_grad,
)
from .linear.operations import OPERATIONS as _LINEAR
from .loss import bce_with_logits, cross_entropy, mse
from .loss.operations import OPERATIONS as _LOSS
from .norm import (
    batch_norm,
    batch_norm_grads,
    batch_norm_inference,
    batch_norm_inference_grads,
    group_norm,
    group_norm_grads,
    layer_norm,
    layer_norm_grads,
)
from .norm.operations import OPERATIONS as _NORM
from .operation import Function, Operation, functions_of
from .pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_grad,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_grad,
    avg_pool1d,
    avg_pool1d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    avg_pool3d,
    avg_pool3d_grad,
    max_pool1d,
    max_pool1d_grad,
    max_pool1d_indices,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_indices,
    max_pool3d,
    max_pool3d_grad,
    max_pool3d_indices,
)
from .pool.operations import OPERATIONS as _POOL
from .resize import upsample, upsample_grad
from .resize.operations import OPERATIONS as _RESIZE
from .softmax import log_softmax, log_softmax_grad, softmax, softmax_grad
from .softmax.operations import OPERATIONS as _SOFTMAX

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
    "batch_norm",
    "batch_norm_grads",
    "batch_norm_inference",
    "batch_norm_inference_grads",
    "bce_with_logits",
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
    "cross_entropy",
    "dropout",
    "gelu",
    "gelu_grad",
    "group_norm",
    "group_norm_grads",
    "hardswish",
    "hardswish_grad",
    "layer_norm",
    "layer_norm_grads",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_bias_grad",
    "linear_grads",
    "linear_input_grad",
    "linear_parameter_grads",
    "linear_weight_grad",
    "log_softmax",
    "log_softmax_grad",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool1d_indices",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_indices",
    "max_pool3d",
    "max_pool3d_grad",
    "max_pool3d_indices",
    "mse",
    "relu",
    "relu6",
    "relu6_grad",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softmax",
    "softmax_grad",
    "tanh",
    "tanh_grad",
    "upsample",
    "upsample_grad",
]

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (*_CONV, *_POOL, *_LINEAR, *_NORM, *_ACTIVATION, *_SOFTMAX, *_LOSS, *_DROPOUT, *_RESIZE)
}
"""The record of every operation, by its name."""

FUNCTIONS: dict[str, Function] = {f.name: f for operation in OPERATIONS.values() for f in functions_of(operation)}
"""What each of the functions above computes, by its name."""
