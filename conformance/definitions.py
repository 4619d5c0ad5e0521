"""Convolution, pooling and linear, their gradients included, in float64, written from the definition:
plain loops, nothing shared with the package.

A convolution or a pooling along any number of axes is a set of meetings: output position p meets input position h
through tap r where h = p*stride - before + r*dilation along every axis. Every function below is one loop over the
meetings, and the gradients are the same loop with the assignment read from the other side. Tests and the grader judge
by them.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = Sequence[int]
Index: TypeAlias = tuple[int, ...]
Sides: TypeAlias = tuple[tuple[int, int], ...]
Table: TypeAlias = list[list[tuple[int, int]]]
"""Of each window along an axis, the (tap, coordinate) of those taps that fall on the input."""

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "conv",
    "conv_bias_grad",
    "conv_input_grad",
    "conv_transpose",
    "conv_weight_grad",
    "linear",
    "linear_bias_grad",
    "linear_input_grad",
    "linear_weight_grad",
    "max_pool",
    "max_pool_grad",
    "max_pool_indices",
]


def _in_either_layout(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, written for "NCHW", with an option `layout`: with "NHWC" the second axis of its arrays, and of the
    shapes it is given, is their last, and a bias gradient is (K,)."""
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*arguments: Any, layout: str = "NCHW", **options: Any) -> Any:
        if layout == "NCHW":
            return function(*arguments, **options)
        given = dict(zip(names, arguments, strict=False)) | options
        for name in given.keys() & {"x", "w", "dy", "taps"}:
            given[name] = np.moveaxis(given[name], -1, 1)
        for name in given.keys() & {"x_shape", "w_shape"}:
            first, *axes, channels = given[name]
            given[name] = (first, channels, *axes)
        result = function(**given)
        if function.__name__ == "conv_bias_grad":
            return result.ravel()
        return tuple(_channels_last(each) for each in result) if isinstance(result, tuple) else _channels_last(result)

    return call


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def _per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def _sides(padding: Any, extents: Shape, window: Shape, stride: Shape, dilation: Shape) -> Sides:
    """padding as (before, after) for each axis."""
    if padding == "valid":
        return ((0, 0),) * len(extents)
    if padding == "same":
        sides = []
        for extent, taps, step, spread in zip(extents, window, stride, dilation, strict=True):
            total = 0  # the least padding for which window number ceil(extent/step) - 1 still fits
            while (math.ceil(extent / step) - 1) * step + (taps - 1) * spread >= extent + total:
                total += 1
            sides.append((total // 2, total - total // 2))
        return tuple(sides)
    return tuple(_per_axis(side, 2) for side in _per_axis(padding, len(extents)))


def _count(extent: int, taps: int, step: int, spread: int, before: int, after: int, ceil_mode: bool = False) -> int:
    """How many windows there are, found by placing them one after the other.

    A window belongs when its last tap lies on the padded input; with ceil_mode it may hang over the end by less than
    one step, provided that it starts on the input or on the padding before it.
    """
    number = 0
    while True:
        first = number * step - before
        last = first + (taps - 1) * spread
        overhang = last - (extent + after - 1)
        if overhang > (step - 1 if ceil_mode else 0) or (ceil_mode and first >= extent):
            return number
        number += 1


def _windows(
    extents: Shape, window: Shape, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> tuple[Index, list[Table]]:
    """How many there are along each axis, and for each the table position -> [(tap, coordinate)] of the taps that fall
    on the input."""
    stride, dilation = _per_axis(stride, len(extents)), _per_axis(dilation, len(extents))
    sides = _sides(padding, extents, window, stride, dilation)
    tables = []
    for extent, taps, step, spread, (before, after) in zip(extents, window, stride, dilation, sides, strict=True):
        table = []
        for position in range(_count(extent, taps, step, spread, before, after, ceil_mode)):
            reached = [(tap, position * step - before + tap * spread) for tap in range(taps)]
            table.append([(tap, at) for tap, at in reached if 0 <= at < extent])
        tables.append(table)
    return tuple(map(len, tables)), tables


def _reached(tables: list[Table], p: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """Every (r, h), the taps of the window p that fall on the input and where, in row-major order."""
    for along in itertools.product(*(table[at] for table, at in zip(tables, p, strict=True))):
        r, h = zip(*along, strict=True)
        yield r, h


def _meetings(
    extents: Shape, window: Shape, stride: Any, padding: Any, dilation: Any
) -> Iterator[tuple[Index, Index, Index]]:
    """Every (p, r, h) where output p meets input h through tap r, each an index along all axes."""
    size, tables = _windows(extents, window, stride, padding, dilation)
    for p in np.ndindex(size):
        for r, h in _reached(tables, p):
            yield p, r, h


def _by_group(array: np.ndarray, axis: int, groups: int) -> Any:
    """The array with its axis of channels split into (group, channel in the group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _plus_bias(y: np.ndarray, b: Any) -> np.ndarray:
    return y if b is None else y + np.asarray(b, np.float64).reshape(1, -1, *(1 for _ in y.shape[2:]))


@_in_either_layout
def conv(
    x: Any, w: Any, b: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    extents, window = x.shape[2:], w.shape[2:]
    size, _ = _windows(extents, window, stride, padding, dilation)
    x, w = _by_group(x, 1, groups), _by_group(w, 0, groups)
    y: Any = np.zeros((len(x), groups, w.shape[1], *size))
    for p, r, h in _meetings(extents, window, stride, padding, dilation):
        y[(..., *p)] += np.einsum("ngc,gkc->ngk", x[(..., *h)], w[(..., *r)])
    return _plus_bias(y.reshape(len(x), groups * w.shape[1], *size), b)


@_in_either_layout
def conv_input_grad(
    dy: Any, w: Any, x_shape: Shape, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    dy, w = _by_group(np.asarray(dy, np.float64), 1, groups), _by_group(np.asarray(w, np.float64), 0, groups)
    dx = _by_group(np.zeros(x_shape), 1, groups)
    for p, r, h in _meetings(x_shape[2:], w.shape[3:], stride, padding, dilation):
        dx[(..., *h)] += np.einsum("ngk,gkc->ngc", dy[(..., *p)], w[(..., *r)])
    return dx.reshape(x_shape)


@_in_either_layout
def conv_weight_grad(
    dy: Any, x: Any, w_shape: Shape, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    extents = x.shape[2:]
    dy, x = _by_group(np.asarray(dy, np.float64), 1, groups), _by_group(np.asarray(x, np.float64), 1, groups)
    dw = _by_group(np.zeros(w_shape), 0, groups)
    for p, r, h in _meetings(extents, w_shape[2:], stride, padding, dilation):
        dw[(..., *r)] += np.einsum("ngk,ngc->gkc", dy[(..., *p)], x[(..., *h)])
    return dw.reshape(w_shape)


@_in_either_layout
def conv_bias_grad(dy: Any) -> np.ndarray:
    dy = np.asarray(dy, np.float64)
    db = [math.fsum(dy[:, k].ravel()) for k in range(dy.shape[1])]
    return np.array(db).reshape(-1, *(1 for _ in dy.shape[2:]))


@_in_either_layout
def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """Every input element lays a scaled copy of the kernel on a canvas; padding crops it, output_padding grows it."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    extents, window = x.shape[2:], w.shape[2:]
    stride, dilation, grow = (_per_axis(value, len(extents)) for value in (stride, dilation, output_padding))
    sides = _sides(padding, extents, window, stride, dilation)
    size = [
        (extent - 1) * step + (taps - 1) * spread + 1 + more
        for extent, step, taps, spread, more in zip(extents, stride, window, dilation, grow, strict=True)
    ]
    x, w = _by_group(x, 1, groups), _by_group(w, 0, groups)
    canvas: Any = np.zeros((len(x), groups, w.shape[2], *size))
    for p in np.ndindex(extents):
        for r in np.ndindex(window):
            at = (i * step + tap * spread for i, step, tap, spread in zip(p, stride, r, dilation, strict=True))
            canvas[(..., *at)] += np.einsum("ngc,gck->ngk", x[(..., *p)], w[(..., *r)])
    canvas = canvas.reshape(len(x), groups * w.shape[2], *size)
    inside = (slice(before, extent - after) for (before, after), extent in zip(sides, size, strict=True))
    return _plus_bias(canvas[(..., *inside)], b)


@_in_either_layout
def max_pool(
    x: Any, kernel_size: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(y, taps): the first greatest tap of each window, or its last NaN; -inf and tap -1 where it is all padding."""
    x = np.asarray(x, np.float64)
    window = _per_axis(kernel_size, x.ndim - 2)
    size, tables = _windows(x.shape[2:], window, window if stride is None else stride, padding, dilation, ceil_mode)
    y: Any = np.full((*x.shape[:2], *size), -np.inf)
    taps = np.full(y.shape, -1)
    for n, c, *p in np.ndindex(y.shape):
        at = (n, c, *p)
        for r, h in _reached(tables, p):
            value = x[(n, c, *h)]
            if taps[at] == -1 or math.isnan(value) or value > y[at]:
                y[at], taps[at] = value, np.ravel_multi_index(r, window)
    return y, taps


@_in_either_layout
def max_pool_indices(
    taps: np.ndarray,
    x_shape: Shape,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The flat position in the plane, h*W + w of two axes, that each tap points at, -1 for no tap."""
    extents, window = x_shape[2:], _per_axis(kernel_size, len(x_shape) - 2)
    _, tables = _windows(extents, window, window if stride is None else stride, padding, dilation, ceil_mode)
    indices = np.full(taps.shape, -1, np.int64)
    for n, c, *p in np.ndindex(taps.shape):
        if taps[(n, c, *p)] >= 0:
            r = np.unravel_index(int(taps[(n, c, *p)]), window)
            h = [dict(table[at])[tap] for table, at, tap in zip(tables, p, r, strict=True)]
            indices[(n, c, *p)] = np.ravel_multi_index(h, extents)
    return indices


@_in_either_layout
def max_pool_grad(dy: Any, taps: np.ndarray, x_shape: Shape, kernel_size: Any, **options: Any) -> np.ndarray:
    dy, dx = np.asarray(dy, np.float64), np.zeros((*x_shape[:2], math.prod(x_shape[2:])))
    indices = max_pool_indices(taps, x_shape, kernel_size, **options)
    for n, c, *p in np.ndindex(dy.shape):
        if indices[(n, c, *p)] >= 0:
            dx[n, c, indices[(n, c, *p)]] += dy[(n, c, *p)]
    return dx.reshape(x_shape)


def _shares(
    x_shape: Shape,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Iterator[tuple[Index, list[Index], int]]:
    """Every (p, positions, divisor) of an average pooling; positions are the window's elements on the input."""
    extents = x_shape[2:]
    window = _per_axis(kernel_size, len(extents))
    step = _per_axis(window if stride is None else stride, len(extents))
    sides = _sides(padding, extents, window, step, (1,) * len(extents))
    size, tables = _windows(extents, window, step, padding, 1, ceil_mode)
    for p in np.ndindex(size):
        positions = [h for _, h in _reached(tables, p)]
        on_padded = sum(
            all(
                at * s + tap < before + extent + after
                for at, s, tap, (before, after), extent in zip(p, step, r, sides, extents, strict=True)
            )
            for r in np.ndindex(window)
        )
        yield p, positions, divisor_override or (on_padded if count_include_pad else len(positions))


@_in_either_layout
def avg_pool(
    x: Any,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    x = np.asarray(x, np.float64)
    window = _per_axis(kernel_size, x.ndim - 2)
    size, _ = _windows(x.shape[2:], window, window if stride is None else stride, padding, 1, ceil_mode)
    y: Any = np.zeros((*x.shape[:2], *size))
    shares = _shares(x.shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    for p, positions, divisor in shares:
        for h in positions:
            y[(..., *p)] += x[(..., *h)] / divisor
    return y


@_in_either_layout
def avg_pool_grad(
    dy: Any,
    x_shape: Shape,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    dy = np.asarray(dy, np.float64)
    dx: Any = np.zeros(x_shape)
    shares = _shares(x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    for p, positions, divisor in shares:
        for h in positions:
            dx[(..., *h)] += dy[(..., *p)] / divisor
    return dx


def _adaptive_windows(extents: Shape, output_size: Any) -> Iterator[tuple[Index, list[Index]]]:
    """Every window's index with the input positions under it."""
    counts = _per_axis(output_size, len(extents))
    for p in np.ndindex(counts):
        under = (
            range(math.floor(i * extent / count), math.ceil((i + 1) * extent / count))
            for i, extent, count in zip(p, extents, counts, strict=True)
        )
        yield p, list(itertools.product(*under))


@_in_either_layout
def adaptive_avg_pool(x: Any, output_size: Any) -> np.ndarray:
    y: Any = np.zeros((*x.shape[:2], *_per_axis(output_size, x.ndim - 2)))
    for p, positions in _adaptive_windows(x.shape[2:], output_size):
        for h in positions:
            y[(..., *p)] += x[(..., *h)] / len(positions)
    return y


@_in_either_layout
def adaptive_avg_pool_grad(dy: Any, x_shape: Shape) -> np.ndarray:
    dx: Any = np.zeros(x_shape)
    for p, positions in _adaptive_windows(x_shape[2:], dy.shape[2:]):
        for h in positions:
            dx[(..., *h)] += dy[(..., *p)] / len(positions)
    return dx


def linear(x: Any, w: Any, b: Any = None, *, batch_axis: int = 0) -> np.ndarray:
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    samples = x if batch_axis == 0 else x.T
    bias = np.zeros(len(w)) if b is None else np.asarray(b, np.float64).ravel()
    y = np.array([[row @ sample + offset for row, offset in zip(w, bias, strict=True)] for sample in samples])
    y = y.reshape(len(samples), len(w))
    return y if batch_axis == 0 else y.T


def linear_input_grad(dy: Any, w: Any, *, batch_axis: int = 0) -> np.ndarray:
    dy, w = np.asarray(dy, np.float64), np.asarray(w, np.float64)
    return linear(dy, w.T, batch_axis=batch_axis)


def linear_weight_grad(dy: Any, x: Any, *, batch_axis: int = 0) -> np.ndarray:
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    if batch_axis == 1:
        dy, x = dy.T, x.T
    dw = np.zeros((dy.shape[1], x.shape[1]))
    for one_dy, one_x in zip(dy, x, strict=True):
        dw += np.outer(one_dy, one_x)
    return dw


def linear_bias_grad(dy: Any, *, batch_axis: int = 0) -> np.ndarray:
    dy = np.asarray(dy, np.float64)
    if batch_axis == 1:
        return np.array([[math.fsum(row)] for row in dy]).reshape(len(dy), 1)
    return np.array([math.fsum(column) for column in dy.T])
