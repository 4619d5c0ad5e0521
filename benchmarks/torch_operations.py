"""The operations in PyTorch. Each takes our function's arguments as tensors and returns the call that is timed.

What a training loop would have ready beforehand (the indices of max pooling) is made ready before the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from .. import kernels
from .training import torch_training_step as training_step

__all__ = ["training_step"]

aten = torch.ops.aten
Call = Callable[[], Any]


def conv2d(x: Any, w: Any, b: Any, **options: Any) -> Call:
    return lambda: F.conv2d(x, w, b, **options)


def _conv2d_backward(dy: Any, x: Any, w: Any, result: int, options: dict[str, Any]) -> Call:
    stride, padding = list(options["stride"]), list(options["padding"])
    dilation = [options["dilation"]] * 2
    mask = [i == result for i in range(3)]

    def call() -> Any:
        gradients = aten.convolution_backward(
            dy, x, w, None, stride, padding, dilation, False, [0, 0], options["groups"], mask
        )
        return gradients[result]

    return call


def conv2d_input_grad(dy: Any, w: Any, x_shape: Any, **options: Any) -> Call:
    x = torch.empty(x_shape, dtype=dy.dtype, device=dy.device, memory_format=_memory_format(dy))
    return _conv2d_backward(dy, x, w, 0, options)


def conv2d_weight_grad(dy: Any, x: Any, w_shape: Any, **options: Any) -> Call:
    w = torch.empty(w_shape, dtype=dy.dtype, device=dy.device, memory_format=_memory_format(dy))
    return _conv2d_backward(dy, x, w, 1, options)


def conv2d_bias_grad(dy: Any) -> Call:
    return lambda: dy.sum((0, 2, 3)).view(-1, 1, 1)


def max_pool2d(x: Any, *, kernel_size: Any, stride: Any, padding: Any) -> Call:
    return lambda: F.max_pool2d(x, kernel_size, stride, padding, return_indices=True)


def max_pool2d_grad(dy: Any, taps: Any, x_shape: Any, *, kernel_size: Any, stride: Any, padding: Any) -> Call:
    positions = kernels.max_pool2d_indices(taps, x_shape, kernel_size, stride=stride, padding=padding)
    memory_format = _memory_format(dy)
    indices = torch.as_tensor(positions, device=dy.device).contiguous(memory_format=memory_format)
    x = torch.empty(x_shape, dtype=dy.dtype, device=dy.device, memory_format=memory_format)
    return lambda: aten.max_pool2d_with_indices_backward(dy, x, kernel_size, stride, padding, [1, 1], False, indices)


def avg_pool2d(x: Any, *, kernel_size: Any, stride: Any, padding: Any) -> Call:
    return lambda: F.avg_pool2d(x, kernel_size, stride, padding)


def avg_pool2d_grad(dy: Any, x_shape: Any, *, kernel_size: Any, stride: Any, padding: Any) -> Call:
    x = torch.empty(x_shape, dtype=dy.dtype, device=dy.device, memory_format=_memory_format(dy))
    return lambda: aten.avg_pool2d_backward(dy, x, kernel_size, stride, padding, False, True, None)


def linear(x: Any, w: Any, b: Any) -> Call:
    return lambda: F.linear(x, w, b)


def linear_input_grad(dy: Any, w: Any) -> Call:
    return lambda: dy @ w


def linear_weight_grad(dy: Any, x: Any) -> Call:
    return lambda: dy.T @ x


def linear_bias_grad(dy: Any) -> Call:
    return lambda: dy.sum(0)


def _memory_format(like: Any) -> Any:
    """channels_last where `like` is laid out so and no other layout fits it."""
    nhwc = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return torch.channels_last if nhwc else torch.contiguous_format
