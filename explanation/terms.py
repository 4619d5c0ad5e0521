"""One element of a gradient, as the list of products that add up to it: plain loops, apart from the kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import product
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..kernels.conv.geometry import ConvGeometry
from ..kernels.pool.geometry import PoolGeometry
from ..layers import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU
from .formulas import avg_pool_geometry, conv_geometry, max_pool_geometry

Index = tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """One product: the factors with what they are, such as ("dY[0,1,2,3]", 0.5)."""

    factors: tuple[tuple[str, float], ...]

    @property
    def value(self) -> float:
        return math.prod(value for _, value in self.factors)


@dataclass(frozen=True)
class Terms:
    """Every term of the element `index` of the gradient `name`, and what the kernel computed for it."""

    name: str
    index: Index
    terms: tuple[Term, ...]
    computed: float

    @property
    def total(self) -> float:
        """The sum of the terms, rounded once."""
        return math.fsum(term.value for term in self.terms)


@singledispatch
def terms(layer: Layer, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    """The terms of element `index` of the gradient of `of` ("input" or a parameter's name), with NumPy x and dy."""
    raise NotImplementedError(f"{type(layer).__name__} is not one of this package's layers: its terms are not known")


@terms.register
def _(layer: Conv2d, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    g, w = conv_geometry(layer, x.shape), to_numpy(layer.weight.data)
    rows, columns = _reads(g, 0), _reads(g, 1)
    if of == "bias":
        for n, p, q in np.ndindex(g.N, g.P, g.Q):
            yield _term(_dy(dy, n, index[0], p, q))
    elif of == "weight":
        k, c, r, s = index
        channel = k // (g.K // g.groups) * (g.C // g.groups) + c
        for n, (p, h), (q, column) in product(range(g.N), rows[r], columns[s]):
            yield _term(_dy(dy, n, k, p, q), _x(x, n, channel, h, column))
    else:
        n, channel, h, column = index
        group, c = divmod(channel, g.C // g.groups)
        of_group = range(group * (g.K // g.groups), (group + 1) * (g.K // g.groups))
        for k, r, s in product(of_group, range(g.R), range(g.S)):
            for p, q in product(_windows_at(rows[r], h), _windows_at(columns[s], column)):
                yield _term(_dy(dy, n, k, p, q), _named("W", w, k, c, r, s))


@terms.register
def _(layer: MaxPool2d, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    n, c, h, w = index
    for p, q, taps in _pool_windows(max_pool_geometry(layer, x.shape)):
        if (h, w) in taps and _maximum(x[n, c], taps) == (h, w):
            yield _term(_dy(dy, n, c, p, q))


@terms.register
def _(layer: AvgPool2d, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    n, c, h, w = index
    g = avg_pool_geometry(layer, x.shape)
    rows, columns = g.counts()
    for p, q, taps in _pool_windows(g):
        if (h, w) in taps:
            divisor = int(rows[p] * columns[q])
            yield _term(_dy(dy, n, c, p, q), (f"1/{divisor}", 1 / divisor))


@terms.register
def _(layer: Linear, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    """Elements of Y and X are named as the layer's layout has them: [n,o] or, with samples as columns, [o,n]."""
    w, columns = to_numpy(layer.weight.data), layer.batch_axis == 1
    flattened = x.ndim > 2
    matrix = x.reshape(x.shape[0], layer.in_features).T if flattened and columns else x.reshape(x.shape[0], -1)
    samples = matrix.shape[layer.batch_axis]

    def at(n: int, feature: int) -> Index:
        return (feature, n) if columns else (n, feature)

    if of == "input":
        n, f = _sample_and_feature(index, x.shape, columns and not flattened)
        for o in range(layer.out_features):
            yield _term(_dy(dy, *at(n, o)), _named("W", w, o, f))
    else:
        for n in range(samples):
            arriving = _dy(dy, *at(n, index[0]))
            yield _term(arriving) if of == "bias" else _term(arriving, _x(matrix, *at(n, index[1])))


@terms.register
def _(layer: ReLU, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    if not x[index] <= 0:
        yield _term(_dy(dy, *index))


@terms.register
def _(layer: Flatten, of: str, index: Index, x: Any, dy: Any) -> Iterator[Term]:
    yield _term(_dy(dy, *_sample_and_feature(index, x.shape, False)))


def _sample_and_feature(index: Index, x_shape: Index, columns: bool) -> tuple[int, int]:
    if columns:
        return index[1], index[0]
    return index[0], int(np.ravel_multi_index(index[1:], x_shape[1:]))


def _reads(g: ConvGeometry | PoolGeometry, axis: int) -> list[list[tuple[int, int]]]:
    """For each tap along an axis the (window, position) pairs that lie on the input."""
    windows, taps, extent = ((g.P, g.R, g.H), (g.Q, g.S, g.W))[axis]
    start = -g.padding[axis][0]
    return [
        [
            (window, position)
            for window in range(windows)
            if 0 <= (position := start + window * g.stride[axis] + tap * g.dilation[axis]) < extent
        ]
        for tap in range(taps)
    ]


def _windows_at(reads: list[tuple[int, int]], wanted: int) -> list[int]:
    return [window for window, position in reads if position == wanted]


def _pool_windows(g: PoolGeometry) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Every window p, q with the positions (h, w) of its taps on the input, in row-major order."""
    rows, columns = _reads(g, 0), _reads(g, 1)
    for p, q in np.ndindex(g.P, g.Q):
        of_p = [h for reads in rows for window, h in reads if window == p]
        of_q = [w for reads in columns for window, w in reads if window == q]
        yield p, q, list(product(of_p, of_q))


def _maximum(plane: Any, taps: list[tuple[int, int]]) -> tuple[int, int]:
    """Where the window's maximum stands: the first of equals, but the last NaN."""
    best = taps[0]
    for tap in taps[1:]:
        if plane[tap] > plane[best] or np.isnan(plane[tap]):
            best = tap
    return best


def _term(*factors: tuple[str, float]) -> Term:
    return Term(factors)


def _named(name: str, array: Any, *index: int) -> tuple[str, float]:
    return f"{name}[{','.join(map(str, index))}]", float(array[index])


def _dy(dy: Any, *index: int) -> tuple[str, float]:
    return _named("dY", dy, *index)


def _x(x: Any, *index: int) -> tuple[str, float]:
    return _named("X", x, *index)
