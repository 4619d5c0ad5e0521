"""Parameters in groups, whose gradients are added up as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import get_array_module, on_device, quietly
from ..kernels.dtypes import accumulation_dtype
from ..layers import Parameter

BYTES = 25 << 20
"""After so many a bucket is full: large enough for the bandwidth, small enough to begin during backward."""


@dataclass
class Bucket:
    """The gradients of these parameters, one after another. dtype: of their sums. numbers: their places in the
    optimizer."""

    dtype: np.dtype
    numbers: list[int]
    parameters: list[Parameter]
    size: int = 0

    def add(self, number: int, parameter: Parameter) -> None:
        self.numbers.append(number)
        self.parameters.append(parameter)
        self.size += parameter.data.size

    @quietly
    def leaf(self, weight: float) -> Any:
        """Their gradients times the weight, which are let go of; 0 for one that has none."""
        xp, start = get_array_module(self.parameters[0].data), 0
        with on_device(self.parameters[0].data):
            array = xp.empty(self.size, self.dtype)
            for parameter in self.parameters:
                part = array[start : start + parameter.data.size]
                part[...] = 0 if parameter.grad is None else parameter.grad.reshape(-1)
                parameter.grad = None
                start += part.size
            array *= weight
            return array

    def zeros(self) -> Any:
        """The leaf of a shard without samples."""
        data = self.parameters[0].data
        with on_device(data):
            return get_array_module(data).zeros(self.size, self.dtype)

    def gradients(self, array: Any) -> dict[int, Any]:
        """By their places, views of the array."""
        found, start = {}, 0
        for number, parameter in zip(self.numbers, self.parameters, strict=True):
            size = parameter.data.size
            found[number] = array[start : start + size].reshape(parameter.data.shape)
            start += size
        return found


def buckets(parameters: Sequence[Parameter]) -> list[Bucket]:
    """Those that are trained, the last first, as backward finds them."""
    done: list[Bucket] = []
    filling: dict[np.dtype, Bucket] = {}
    for number in reversed(range(len(parameters))):
        parameter = parameters[number]
        if not parameter.requires_grad:
            continue
        dtype = accumulation_dtype(parameter.data.dtype)
        bucket = filling.setdefault(dtype, Bucket(dtype, [], []))
        bucket.add(number, parameter)
        if bucket.size * dtype.itemsize >= BYTES:
            done.append(filling.pop(dtype))
    return [*done, *filling.values()]
