"""Pooling in blocks of planes, over threads; where windows are sparse, on the plain path."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..blocked.choose import is_sparse
from . import blocked_avg_pool2d as average
from . import blocked_max_pool2d as greatest
from . import cpu
from .cpu import adaptive_avg_pool2d, adaptive_avg_pool2d_grad


def _unless_sparse(blocked: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(blocked)
    def call(*arguments: Any) -> Any:
        return (plain if is_sparse(arguments[-1]) else blocked)(*arguments)

    return call


avg_pool2d = _unless_sparse(average.avg_pool2d, cpu.avg_pool2d)
avg_pool2d_grad = _unless_sparse(average.avg_pool2d_grad, cpu.avg_pool2d_grad)
max_pool2d = _unless_sparse(greatest.max_pool2d, cpu.max_pool2d)
max_pool2d_grad = _unless_sparse(greatest.max_pool2d_grad, cpu.max_pool2d_grad)
max_pool2d_indices = _unless_sparse(greatest.max_pool2d_indices, cpu.max_pool2d_indices)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool2d_indices",
]
