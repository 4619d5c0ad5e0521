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
    conv2d,
    conv2d_bias_grad,
    conv2d_grads,
    conv2d_input_grad,
    conv2d_parameter_grads,
    conv2d_weight_grad,
    conv_transpose2d,
)
from .conv.operations import OPERATIONS as _CONV
from .linear import (
    linear,
    linear_bias_grad,
    linear_grads,
    linear_input_grad,
    linear_parameter_grads,
    linear_weight_grad,
)
from .linear.operations import OPERATIONS as _LINEAR
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
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_indices,
)
from .pool.operations import OPERATIONS as _POOL
from .softmax import log_softmax, log_softmax_grad, softmax, softmax_grad
from .softmax.operations import OPERATIONS as _SOFTMAX

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_grads",
    "batch_norm_inference",
    "batch_norm_inference_grads",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_parameter_grads",
    "conv2d_weight_grad",
    "conv_transpose2d",
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
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_indices",
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
]

OPERATIONS: dict[str, Operation] = {
    operation.name: operation for operation in (*_CONV, *_POOL, *_LINEAR, *_NORM, *_ACTIVATION, *_SOFTMAX)
}
"""The record of every operation, by its name."""

FUNCTIONS: dict[str, Function] = {f.name: f for operation in OPERATIONS.values() for f in functions_of(operation)}
"""What each of the functions above computes, by its name."""
