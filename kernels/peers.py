"""What the rooms write their textbook forms with: a loop over the taps, each a strided slice of the padded input.

A textbook form takes an operation's inputs and its geometry. In double precision it is the definition that benchmarks
judge every result by: it shares nothing with axis.py and the paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray
Call = Any


def padded(x: Array, g: Any, fill: Any = 0) -> Array:
    """x with so much of `fill` around it that every tap of every window is on it."""
    return np.pad(x, ((0, 0), (0, 0), *_margins(g)), constant_values=fill)


def unpadded(x: Array, g: Any) -> Array:
    """What padded() was given."""
    (top, _), (left, _) = _margins(g)
    return np.ascontiguousarray(x[:, :, top : top + g.H, left : left + g.W])


def slices(g: Any) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Every tap r, s in row-major order, with the part of the padded input that it meets: (N, C, P, Q)."""
    for r, s in np.ndindex(g.R, g.S):
        yield r, s, (..., _slice(r, g.P, 0, g), _slice(s, g.Q, 1, g))


def _slice(tap: int, windows: int, axis: int, g: Any) -> slice:
    first = tap * g.dilation[axis]
    return slice(first, first + (windows - 1) * g.stride[axis] + 1, g.stride[axis])


def _margins(g: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Before and after each axis; windows may stop short of the padding's end, or reach past it (ceil_mode)."""
    rows, columns = (
        (before, max(0, (windows - 1) * stride + (taps - 1) * dilation + 1 - before - extent))
        for windows, taps, extent, stride, dilation, (before, _) in zip(
            (g.P, g.Q), (g.R, g.S), (g.H, g.W), g.stride, g.dilation, g.padding, strict=True
        )
    )
    return rows, columns


def symmetric_padding(g: Any) -> list[int]:
    """The padding of both axes for a library that pads both sides alike; NotImplementedError where g does not."""
    if any(before != after for before, after in g.padding):
        raise NotImplementedError("it pads both sides of an axis alike")
    return [before for before, _ in g.padding]


def torch_memory_format(like: Any) -> Any:
    """channels_last where the tensor `like` is laid out so and no other layout fits it."""
    import torch

    nhwc = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return torch.channels_last if nhwc else torch.contiguous_format


def torch_empty(shape: Any, like: Any) -> Any:
    """A tensor of this shape, laid out as `like`."""
    import torch

    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch_memory_format(like))
