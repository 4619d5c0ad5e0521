"""Networks for evaluation: a batch normalisation becomes part of the convolution before it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .backend import get_array_module, on_device, to_numpy
from .kernels import checks, relu, relu_grad
from .kernels.layout import NHWC, to_channels_first, to_channels_last
from .kernels.types import A, Array
from .layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Layer,
    Linear,
    Parameter,
    Sequential,
)
from .layers.branches import summed

_NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)
_CONVS = (Conv1d, Conv2d, Conv3d)
_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


def fold(net: Layer) -> Layer:
    """A copy of `net` in evaluation mode, in which convolutions have taken up the batch normalisations after them.

    With the running statistics w becomes w s and b becomes (b - running_mean) s + beta, where
    s = gamma / sqrt(running_var + eps), for each output channel; computed in float64 and rounded once to the weight's
    dtype, so that the results are those of net.eval() but for rounding. Its ReLU becomes the convolution's in a
    Sequential; else what it did after it, a residual added or a ReLU, stays in its place under the same name. Fully
    connected layers are folded as well.

    Which layers follow one another is known of a Sequential and of the blocks of backstride.models; a layer of your own
    says it by `consecutive`. All others, and normalisations without running statistics, stay as they are. `net` is not
    changed. Raises TypeError where net is no Layer.

    >>> import numpy as np
    >>> from backstride import fold
    >>> from backstride.layers import BatchNorm2d, Conv2d, Sequential
    >>> net = Sequential(Conv2d(1, 2, 3, bias=False, dtype="float64"), BatchNorm2d(2, dtype="float64")).eval()
    >>> x = np.ones((1, 1, 4, 4))
    >>> list(fold(net).state_dict()), np.allclose(fold(net)(x), net(x), rtol=1e-12)
    (['0.weight', '0.bias'], True)
    """
    if not isinstance(net, Layer):
        raise checks.type_error("fold", "net", f"a {type(net).__qualname__}", "a Layer")
    folded = copy.deepcopy(net).eval()
    for _, layer in list(folded.named_layers()):
        for first, second in layer.consecutive():
            linear, norm = getattr(layer, first), getattr(layer, second)
            if _can_fold(linear, norm):
                _take_up(linear, norm)
                left = norm.activation
                if _can_activate(linear, layer):
                    linear.activation, left = left, None
                setattr(layer, second, Folded(left).eval())
    return folded


class Folded(Layer):
    """What is left of a batch normalisation that was folded: y = x + residual, and with activation "relu" max(y, 0).

    forward(x, residual): backward then returns (dx, dresidual), as BatchNorm2d's.
    """

    def __init__(self, activation: str | None = None) -> None:
        self.activation = activation

    def forward(self, x: A, residual: A | None = None) -> A:
        y: A = x if residual is None else summed(checks.arrays("Folded", x=x, residual=residual))
        if self.activation is not None:
            y = relu(y)
        self._keep((residual is not None, None if self.activation is None else y))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        residual, y = self._kept()
        if not needs_input_grad:
            return None
        dx = dy if y is None else relu_grad(dy, y)
        return (dx, dx) if residual else dx

    def __repr__(self) -> str:
        return "Folded()" if self.activation is None else f"Folded({self.activation!r})"


def _can_fold(linear: Layer, norm: Layer) -> bool:
    if not isinstance(norm, _NORMS) or norm.running_mean is None or getattr(linear, "activation", None) is not None:
        return False
    if isinstance(linear, (*_CONVS, *_TRANSPOSED)):
        return bool(linear.options["layout"] == norm.layout)
    return isinstance(linear, Linear) and linear.batch_axis == 0


def _can_activate(linear: Layer, holder: Layer) -> bool:
    """Whether it can end with the normalisation's activation: in a Sequential no residual is added before that."""
    return not isinstance(linear, _TRANSPOSED) and type(holder).forward is Sequential.forward


def _take_up(linear: Any, norm: Any) -> None:
    """Give the convolution the weight and bias that do what it and the normalisation did."""
    mean, var = (to_numpy(buffer.data).astype(np.float64) for buffer in (norm.running_mean, norm.running_var))
    scale = 1 / np.sqrt(var + norm.eps)
    bias = -mean if linear.bias is None else to_numpy(linear.bias.data).ravel() - mean
    bias = bias * scale
    if norm.weight is not None:
        gamma, beta = (to_numpy(parameter.data).astype(np.float64) for parameter in (norm.weight, norm.bias))
        scale, bias = scale * gamma, bias * gamma + beta
    data = linear.weight.data
    weight = to_numpy(data).astype(np.float64)
    channels_last = not isinstance(linear, Linear) and linear.options["layout"] == NHWC
    if channels_last:
        weight = to_channels_first(weight)
    if isinstance(linear, _TRANSPOSED):  # (C, K/groups, *R)
        groups = linear.options["groups"]
        by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        weight = (by_group * scale.reshape(groups, 1, -1, 1)).reshape(weight.shape)
    else:
        weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if channels_last:
        weight = np.ascontiguousarray(to_channels_last(weight))
    column = (-1,) if channels_last or isinstance(linear, Linear) else (-1, *(1,) * (weight.ndim - 2))
    linear.weight = _parameter(weight, data)
    linear.bias = _parameter(bias.reshape(column), data, bias.shape)


def _parameter(values: np.ndarray, like: Any, state_shape: tuple[int, ...] | None = None) -> Parameter:
    with on_device(like):
        return Parameter(get_array_module(like).asarray(values.astype(like.dtype)), state_shape)
