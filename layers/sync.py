"""Batch normalisation over the shards of all processes at once (BatchNorm2d(..., sync=True)).

With M the number of values of a channel in all shards, and d the gradient of the loss of the whole batch:

    mean = sum of x / M        var = sum of (x - mean)² / M        x' = (x - mean) / sqrt(var + eps)
    dx = gamma / sqrt(var + eps) (d - (sum of d + x' sum of d x') / M)

where the sums go over all shards (Ioffe and Szegedy, Batch Normalization, 2015, section 3). A shard's own gradient dy
is that of its own loss, of which the batch's takes the part `weight`: d = weight dy.
"""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module, on_device, quietly
from ..kernels.layout import NHWC
from .base import Layer
from .shard import Shard


@quietly
def statistics(layer: Layer, shard: Shard, mean: Any, var: Any, count: int) -> tuple[Any, Any, Any]:
    """The mean, the biased variance, both (C,), and M, (1,), of those of each shard and its number of values."""
    xp = get_array_module(mean)
    with on_device(mean):
        values = xp.full(1, count, mean.dtype)
        sums = shard.total(layer, xp.concatenate([mean * values, values]))
        count_of_all = sums[-1:]
        mean_of_all = sums[:-1] / count_of_all
        squares = (var + xp.square(mean - mean_of_all)) * values
        return mean_of_all, shard.total(layer, squares) / count_of_all, count_of_all


@quietly
def input_grad(
    layer: Any, shard: Shard, dx: Any, x: Any, mean: Any, var: Any, count: Any, dgamma: Any, dbeta: Any
) -> Any:
    """dx of this shard, of the gradients that it has for a fixed mean and var."""
    xp = get_array_module(x)
    with on_device(x):
        by_channel = () if layer.layout == NHWC else (slice(None), *(None,) * (x.ndim - 2))
        sums = shard.total(layer, xp.concatenate([dgamma, dbeta]) * shard.weight) / (count * shard.weight)
        of_products, of_gradients = sums[: len(mean)], sums[len(mean) :]
        scale = 1 / xp.sqrt(var + layer.eps)
        centred = x.astype(mean.dtype) - mean[by_channel]
        centred *= (scale * of_products)[by_channel]
        centred += of_gradients[by_channel]
        centred *= (scale if layer.weight is None else scale * layer.weight.data)[by_channel]
        return (dx.astype(mean.dtype) - centred).astype(x.dtype, copy=False)


@quietly
def unbiased(var: Any, count: Any) -> Any:
    """The variance that running ones follow; 0 of a single value."""
    with on_device(var):
        return var * (count / get_array_module(var).maximum(count - 1, 1))
