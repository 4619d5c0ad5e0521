"""What the rooms write their textbook forms with: a loop over the taps, each a strided slice of the padded input.

A textbook form takes an operation's inputs and its geometry. In double precision it is the definition that benchmarks
judge every result by: of axis.py it uses an axis's numbers alone, and of the paths nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

from .axis import Axis, Windowed

Array = np.ndarray
Index = Any


def activated(y: Array, g: Any) -> Array:
    """y, of NumPy or CuPy, as the operation ends."""
    return y if g.activation is None else np.maximum(y, 0)


def torch_activated(y: Any, g: Any) -> Any:
    """The same of a fresh tensor, in place."""
    return y if g.activation is None else y.relu_()


def padded(x: Array, g: Windowed, fill: Any = 0) -> Array:
    """x with so much of `fill` around it that every tap of every window is on it."""
    return np.pad(x, ((0, 0), (0, 0), *((axis.before, _after(axis)) for axis in g.axes)), constant_values=fill)


def _after(axis: Axis) -> int:
    """Windows may stop short of the padding's end, or reach past it (ceil_mode)."""
    last = (axis.windows - 1) * axis.stride + (axis.taps - 1) * axis.dilation
    return max(0, last + 1 - axis.before - axis.extent)


def unpadded(x: Array, g: Windowed) -> Array:
    """What padded() was given."""
    inside: Index = (..., *(slice(axis.before, axis.before + axis.extent) for axis in g.axes))
    return np.ascontiguousarray(x[inside])


def slices(g: Windowed) -> Iterator[Index]:
    """For every tap in row-major order the part of the padded input that it meets: (..., *windows)."""
    for tap in np.ndindex(g.kernel_size):
        yield (..., *map(_slice, tap, g.axes))


def _slice(tap: int, axis: Axis) -> slice:
    first = tap * axis.dilation
    return slice(first, first + (axis.windows - 1) * axis.stride + 1, axis.stride)


def symmetric_padding(g: Windowed) -> list[int]:
    """The padding of each axis for a library that pads both sides alike; NotImplementedError where g does not."""
    if any(axis.before != axis.after for axis in g.axes):
        raise NotImplementedError("it pads both sides of an axis alike")
    return [axis.before for axis in g.axes]


def torch_function(name: str) -> Any:
    """A function of torch.nn.functional."""
    from torch.nn import functional

    return getattr(functional, name)


def torch_memory_format(like: Any) -> Any:
    """channels_last where the tensor `like` is laid out so and no other layout fits it."""
    import torch

    nhwc = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return torch.channels_last if nhwc else torch.contiguous_format


def torch_layout(prepare: Callable[..., Callable[[], Any]]) -> Callable[..., Callable[[], Any]]:
    """A TORCH form whose tensors of channels last are given to PyTorch as its own: views with axes (N, C, H, W) that
    lie in memory as torch.channels_last."""

    @wraps(prepare)
    def prepared(*arguments: Any) -> Callable[[], Any]:
        *tensors, g = arguments
        if not g.channels_last:
            return prepare(*arguments)
        run = prepare(*(t if t is None or t.ndim == 1 else _moved(t, -1, 1) for t in tensors), g.channels_first)
        return lambda: _channels_last(run(), g.rank)

    return prepared


def _channels_last(result: Any, rank: int) -> Any:
    if isinstance(result, tuple):
        return tuple(_channels_last(each, rank) for each in result)
    return result.flatten() if result.ndim <= rank + 1 else _moved(result, 1, -1)


def _moved(a: Any, source: int, destination: int) -> Any:
    """Of a tensor, or of taps, which stay NumPy's."""
    return np.moveaxis(a, source, destination) if isinstance(a, np.ndarray) else a.movedim(source, destination)


def torch_empty(shape: Any, like: Any) -> Any:
    """A tensor of this shape, laid out as `like`."""
    import torch

    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch_memory_format(like))
