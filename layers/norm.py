"""Normalisation layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import asarray, on_device, quietly
from ..kernels import (
    batch_norm,
    batch_norm_grads,
    batch_norm_inference,
    batch_norm_inference_grads,
    checks,
    group_norm,
    group_norm_grads,
    layer_norm,
    layer_norm_grads,
)
from ..kernels.dtypes import accumulation_dtype
from ..kernels.layout import NCHW, in_layout, is_channels_last
from ..kernels.norm.geometry import (
    BatchNormGeometry,
    RowNormGeometry,
    check_eps,
    check_normalized_shape,
    check_num_groups,
)
from ..kernels.types import A, Array, Shape
from . import sync as synchronised
from .base import Buffer, Layer, Parameter, add_grads, float_dtype
from .shard import Shard, current_shard


class _Norm(Layer):
    """weight and bias, of float32 for 16-bit x, or both None."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, shape: tuple[int, ...], eps: float, affine: bool, dtype: Any) -> None:
        name = type(self).__name__
        self.eps, self._dtype = check_eps(name, eps), accumulation_dtype(float_dtype(name, dtype))
        self.weight = Parameter(asarray(np.ones(shape, self._dtype))) if affine else None
        self.bias = Parameter(asarray(np.zeros(shape, self._dtype))) if affine else None

    def _parameters(self) -> tuple[Any, Any]:
        return None if self.weight is None else self.weight.data, None if self.bias is None else self.bias.data

    def _described(self, *arguments: object, **defaults: object) -> str:
        """The arguments, and the attributes that are not the defaults."""
        given = [repr(argument) for argument in arguments]
        given += [f"{k}={getattr(self, k)!r}" for k, v in (("eps", 1e-5), *defaults.items()) if getattr(self, k) != v]
        given += [] if self.weight is not None else ["affine=False"]
        return f"{type(self).__name__}({', '.join(given)})"


class _BatchNorm(_Norm):
    operation = "batch_norm"
    ranks: tuple[int, ...]
    axes: tuple[str, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        activation: str | None = None,
        sync: bool = False,
        layout: str = NCHW,
        dtype: Any = "float32",
    ) -> None:
        """y = weight (x - mean) / sqrt(var + eps) + bias, then perhaps a residual and the activation.

        num_features: C. In training mode mean and var are each channel's own over the batch, and running_mean and
        running_var follow them: new = (1 - momentum) * old + momentum * the batch's, or with momentum=None the mean
        over all batches so far. As in PyTorch running_var follows the unbiased variance; a batch of one value for each
        channel leaves it alone, and an empty one both. In evaluation mode they take the place of the batch's, unless
        track_running_stats is False. affine: whether there are weight and bias, (C,). activation: None or "relu".
        sync: in a shard of backstride.distributed mean and var are those of all shards together, which takes exactly
        one for each process, with samples in it (ValueError otherwise); the bits then belong to that number.
        layout: "NHWC" where x is (N, *X, C). dtype: x's; for 16-bit x parameters and statistics are float32.
        Raises ValueError for options, TypeError for dtypes.
        """
        name = type(self).__name__
        self.num_features = checks.integer(name, "num_features", num_features, 1)
        self.momentum, self.activation = _checked_momentum(name, momentum), checks.activation(name, activation)
        shape = (self.num_features,)
        super().__init__(shape, eps, affine, dtype)
        self.track_running_stats, self.sync = bool(track_running_stats), bool(sync)
        self.layout, self._channels_last = layout, is_channels_last(name, layout)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = Buffer(asarray(np.zeros(shape, self._dtype)))
            self.running_var = Buffer(asarray(np.ones(shape, self._dtype)))
            self.num_batches_tracked = Buffer(asarray(np.zeros((), np.int64)))

    def forward(self, x: A, residual: A | None = None) -> A:
        """residual: of x's shape, is added before the activation; backward then returns (dx, dresidual)."""
        self._check_shape(x)
        options: dict[str, Any] = {"eps": self.eps, "layout": self.layout}
        options |= {"activation": self.activation, "residual": residual}
        running = None if self.training else self._running()
        shard = current_shard() if self.sync and self.training else None
        if shard is not None:
            return self._forward_in_sync(shard, x, options)
        if running is None:
            y, mean, var = batch_norm(x, *self._parameters(), **options)
            if self.training:
                self._track(mean, var, x.size // self.num_features)
        else:
            mean, var = running
            y = batch_norm_inference(x, *self._parameters(), mean, var, **options)
        grads = batch_norm_grads if running is None else batch_norm_inference_grads
        self._keep((x, mean, var, grads, residual is not None, None if self.activation is None else y))
        return y

    def _forward_in_sync(self, shard: Shard, x: A, options: dict[str, Any]) -> A:
        _, mean, var = batch_norm(x, None, None, eps=self.eps, layout=self.layout)
        mean, var, count = synchronised.statistics(self, shard, mean, var, x.size // self.num_features)
        y = batch_norm_inference(x, *self._parameters(), mean, var, **options)

        def grads(dy: Array, x: Array, gamma: Any, mean: Any, var: Any, **more: Any) -> tuple[Any, ...]:
            dx, dgamma, dbeta, *rest = batch_norm_inference_grads(dy, x, gamma, mean, var, **more)
            return synchronised.input_grad(self, shard, dx, x, mean, var, count, dgamma, dbeta), dgamma, dbeta, *rest

        self._keep((x, mean, var, grads, options["residual"] is not None, None if self.activation is None else y))
        if self.track_running_stats:
            shard.add_statistics(self, mean, synchronised.unbiased(var, count))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """As Layer.backward; after a residual (dx, dresidual), of which only dx can be left out."""
        x, mean, var, grads, residual, y = self._kept()
        gamma, beta = self._parameters()
        options: dict[str, Any] = {"eps": self.eps, "layout": self.layout}
        if self.activation is not None:
            options |= {"activation": self.activation, "residual": residual, "beta": beta, "y": y}
        dx, dgamma, dbeta, *dresidual = grads(dy, x, gamma, mean, var, **options)
        add_grads((self.weight, dgamma), (self.bias, dbeta))
        dx = dx if needs_input_grad else None
        return (dx, *(dresidual or [dy])) if residual else dx

    def _running(self) -> tuple[Any, Any] | None:
        if self.running_mean is None or self.running_var is None:
            return None
        return self.running_mean.data, self.running_var.data

    @quietly
    def _track(self, mean: Any, var: Any, count: int) -> None:
        """Let the running statistics follow those of a batch with so many values for each channel."""
        if not self.track_running_stats:
            return
        with on_device(mean):
            unbiased = var * (count / (count - 1)) if count > 1 else None
        shard = current_shard()
        if shard is None:
            self.follow(mean if count else None, unbiased)
        else:
            shard.add_statistics(self, mean if count else None, unbiased)

    @quietly
    def follow(self, mean: Any, var: Any) -> None:
        """Let the running statistics follow the mean and the unbiased variance of a batch, each (C,) or None."""
        running = self._running()
        if running is None or self.num_batches_tracked is None:
            return
        with on_device(running[0]):
            batches = self.num_batches_tracked.data
            batches += 1
            share = (1 / batches).astype(self._dtype) if self.momentum is None else self.momentum
            for old, new in zip(running, (mean, var), strict=True):
                if new is not None:
                    old *= 1 - share
                    old += new * share

    def _check_shape(self, x: Array) -> None:
        shape = getattr(x, "shape", None)
        channels = -1 if self._channels_last else 1
        if shape is not None and (len(shape) - 2 not in self.ranks or shape[channels] != self.num_features):
            axes = [f"({', '.join(in_layout(each, self._channels_last))})" for each in self.axes]
            expected = f"{' or '.join(axes)} with C = {self.num_features}"
            raise checks.value_error(type(self).__name__, "x.shape", tuple(shape), expected)

    def geometry(self, x_shape: tuple[int, ...]) -> BatchNormGeometry:
        options: dict[str, Any] = {"activation": self.activation, "layout": self.layout}
        return BatchNormGeometry.of(self.operation, x_shape, eps=self.eps, **options)

    def __repr__(self) -> str:
        defaults = {"activation": None, "track_running_stats": True, "sync": False, "layout": NCHW}
        return self._described(self.num_features, momentum=0.1, **defaults)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (N, C) or (N, C, L): what the values of each channel share is taken out."""

    ranks, axes = (0, 1), ("NC", "NCL")


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of x (N, C, H, W): what the values of each channel share is taken out."""

    ranks, axes = (2,), ("NCHW",)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of x (N, C, D, H, W): what the values of each channel share is taken out."""

    ranks, axes = (3,), ("NCDHW",)


class GroupNorm(_Norm):
    """Group normalisation: y = weight (x - mean) / sqrt(var + eps) + bias, mean and var over each of num_groups groups
    of neighbouring channels of each image; x (N, C, *X), C = num_channels.

    weight and bias are (C,), or None without affine. dtype: x's; 16-bit x has parameters in float32.
    """

    operation = "group_norm"

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype: Any = "float32"
    ) -> None:
        self.num_channels = checks.integer("GroupNorm", "num_channels", num_channels, 1)
        self.num_groups = check_num_groups("GroupNorm", num_groups, self.num_channels)
        super().__init__((self.num_channels,), eps, affine, dtype)

    def forward(self, x: A) -> A:
        y, mean, var = group_norm(x, self.num_groups, *self._parameters(), eps=self.eps)
        self._keep((x, mean, var))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x, mean, var = self._kept()
        gamma, _ = self._parameters()
        dx, dgamma, dbeta = group_norm_grads(dy, x, self.num_groups, gamma, mean, var, eps=self.eps)
        add_grads((self.weight, dgamma), (self.bias, dbeta))
        return dx if needs_input_grad else None

    def geometry(self, x_shape: tuple[int, ...]) -> RowNormGeometry:
        return RowNormGeometry.of_groups(self.operation, x_shape, num_groups=self.num_groups, eps=self.eps)

    def __repr__(self) -> str:
        return self._described(self.num_groups, self.num_channels)


class LayerNorm(_Norm):
    """Layer normalisation: y = weight (x - mean) / sqrt(var + eps) + bias, mean and var over the last axes of x, which
    are normalized_shape, an int or a tuple of them.

    weight and bias are of that shape, or None without affine. dtype: x's; 16-bit x has parameters in float32.
    """

    operation = "layer_norm"

    def __init__(
        self, normalized_shape: int | Shape, eps: float = 1e-5, affine: bool = True, *, dtype: Any = "float32"
    ) -> None:
        self.normalized_shape = check_normalized_shape("LayerNorm", normalized_shape)
        super().__init__(self.normalized_shape, eps, affine, dtype)

    def forward(self, x: A) -> A:
        y, mean, var = layer_norm(x, self.normalized_shape, *self._parameters(), eps=self.eps)
        self._keep((x, mean, var))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x, mean, var = self._kept()
        gamma, _ = self._parameters()
        dx, dgamma, dbeta = layer_norm_grads(dy, x, self.normalized_shape, gamma, mean, var, eps=self.eps)
        add_grads((self.weight, dgamma), (self.bias, dbeta))
        return dx if needs_input_grad else None

    def geometry(self, x_shape: tuple[int, ...]) -> RowNormGeometry:
        return RowNormGeometry.of_layer(self.operation, x_shape, normalized_shape=self.normalized_shape, eps=self.eps)

    def __repr__(self) -> str:
        return self._described(self.normalized_shape)


def _checked_momentum(layer: str, momentum: Any) -> float | None:
    if momentum is None:
        return None
    expected = "None or a number from 0 to 1"
    try:
        number = float(momentum)
    except (TypeError, ValueError):
        raise checks.value_error(layer, "momentum", repr(momentum), expected) from None
    if not 0 <= number <= 1 or math.isnan(number):
        raise checks.value_error(layer, "momentum", momentum, expected)
    return number
