"""Clipping gradients by their norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import get_array_module, on_device, quietly
from ..kernels import checks
from ..layers import Parameter
from .optimizer import Optimizer

_TINY = 1e-6  # PyTorch's, so that a norm of 0 divides


@quietly
def clip_grad_norm(optimizer_or_parameters: Any, max_norm: float) -> Any:
    """Scale all gradients by one factor so that their 2-norm together is at most max_norm; returns the norm before, a
    float64 array without axes.

    Of an optimizer the gradients stay as they are: its next step multiplies them, in float32 for 16-bit parameters. Of
    parameters the gradients are changed in place, and those that are None are passed over. A norm that is infinite or
    NaN is never hidden: all gradients become NaN. Never waits for a device. Raises ValueError for a max_norm that is
    no number above 0.
    """
    if not 0 < max_norm < float("inf"):
        raise checks.value_error("clip_grad_norm", "max_norm", max_norm, "a finite number > 0")
    if hasattr(optimizer_or_parameters, "gradient_norm"):
        return _clip_optimizer(optimizer_or_parameters, max_norm)
    return _clip_parameters(optimizer_or_parameters, max_norm)


def _clip_optimizer(optimizer: Optimizer, max_norm: float) -> Any:
    norm = optimizer.gradient_norm()
    with on_device(norm):
        optimizer.scale_gradients(_factor(norm, max_norm))
    return norm


def _clip_parameters(parameters: Iterable[Parameter], max_norm: float) -> Any:
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return np.zeros(())
    xp = get_array_module(*gradients)
    with on_device(gradients[0]):
        squares = []
        for gradient in gradients:
            with on_device(gradient):
                squares.append(xp.square(gradient.astype(np.float64)).sum())
        norm = xp.asarray(xp.sqrt(sum(map(xp.asarray, squares))))
        factor = _factor(norm, max_norm)
    for gradient in gradients:
        with on_device(gradient):
            here = xp.asarray(factor)
            gradient[...] = gradient.astype(np.float64) * here
    return norm


def _factor(norm: Any, max_norm: float) -> Any:
    xp = get_array_module(norm)
    return xp.where(xp.isfinite(norm), xp.minimum(max_norm / (norm + _TINY), 1.0), np.nan)
