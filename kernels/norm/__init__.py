"""Batch, group and layer normalisation and their gradients."""

from .functions import (
    batch_norm,
    batch_norm_grads,
    batch_norm_inference,
    batch_norm_inference_grads,
    group_norm,
    group_norm_grads,
    layer_norm,
    layer_norm_grads,
)

__all__ = [
    "batch_norm",
    "batch_norm_grads",
    "batch_norm_inference",
    "batch_norm_inference_grads",
    "group_norm",
    "group_norm_grads",
    "layer_norm",
    "layer_norm_grads",
]
