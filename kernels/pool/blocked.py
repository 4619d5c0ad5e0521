"""Pooling in blocks of planes, over threads; where windows are sparse, on the plain path."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..blocked.choose import is_sparse
from . import blocked_avg_pool2d as average
from . import blocked_max_pool2d as greatest
from . import cpu
from .cpu import adaptive_avg_pool, adaptive_avg_pool_grad


def _unless_sparse(blocked: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(blocked)
    def call(*arguments: Any) -> Any:
        return (plain if is_sparse(arguments[-1]) else blocked)(*arguments)

    return call


avg_pool = _unless_sparse(average.avg_pool, cpu.avg_pool)
avg_pool_grad = _unless_sparse(average.avg_pool_grad, cpu.avg_pool_grad)
max_pool = _unless_sparse(greatest.max_pool, cpu.max_pool)
max_pool_grad = _unless_sparse(greatest.max_pool_grad, cpu.max_pool_grad)
max_pool_indices = _unless_sparse(greatest.max_pool_indices, cpu.max_pool_indices)

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "max_pool",
    "max_pool_grad",
    "max_pool_indices",
]
