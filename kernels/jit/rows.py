"""Exponentials and sums along an axis of arrays that are seen as (outer, length, inner).

Where inner is 1, a row of `length` elements lies in one line. Else neighbouring rows lie side by side: of a few of
them, abreast, the elements in one place are a line, and what belongs to a row stands in arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .blocks import over_blocks
from .compiled import compiled, contiguous, pieces, regrouped
from .elementary import falling_exp
from .elements import at
from .reduce import CHAIN, line_sum
from .vectors import BYTES

ABREAST = 256  # rows: what is kept for each stays in the first cache
WORTH = 1 << 18  # elements: fewer are not worth a second thread
PART = 1 << 15  # elements


def over_rows(
    loops: tuple[Callable[..., None], Callable[..., None]],
    arrays: tuple[np.ndarray, ...],
    axis: int,
    rows: tuple[np.ndarray, ...] = (),
    *others: Any,
) -> None:
    """loop(*arrays, *rows, *others, first, end) for rows in lines, or blocks of rows abreast, on several threads where
    there are many elements.

    loops: for lines, which take the arrays as (rows, length), and for rows abreast, which take them as (outer, length,
    inner). rows: arrays of an element for each row, of the arrays' shape without the axis.
    """
    strided = next((a for a in arrays if not a.flags.c_contiguous), arrays[0])
    for images in pieces(strided) if axis else [slice(None)]:
        own = tuple(a[images] for a in (*arrays, *rows))
        _over_rows(loops, contiguous(*own), len(arrays), axis, others)


def _over_rows(
    loops: tuple[Callable[..., None], Callable[..., None]],
    given: tuple[np.ndarray, ...],
    count: int,
    axis: int,
    others: tuple[Any, ...],
) -> None:
    shape = given[0].shape
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    shapes: tuple[tuple[int, ...], tuple[int, ...]]  # of the arrays, and of those for rows
    if inner == 1:
        loop, units, size = loops[0], outer, length
        shapes = (outer, length), (outer,)
    else:
        loop, units, size = loops[1], outer * -(-inner // ABREAST), length * min(inner, ABREAST)
        shapes = (outer, length, inner), (outer, inner)
    seen = [a.reshape(shapes[number >= count]) for number, a in enumerate(given)]
    every = max(1, PART // size)

    def work(low: int, high: int) -> None:
        loop(*seen, *others, low * every, min(units, high * every))

    over_blocks(work, -(-units // every), given[0].size // WORTH, given[0].dtype)


@compiled
def block(number, inner):
    """Which of the outer, and from where to where of the inner, a block of rows abreast is."""
    parts = -(-inner // ABREAST)
    first = number % parts * ABREAST
    return number // parts, first, min(inner, first + ABREAST)


@compiled
def exponentials(row, out):
    """out = exp(row - its maximum); the maximum, and the sum."""
    top = _highest(row)
    raise_line(row, top, out)
    return top, row_sum(out)


@compiled
def exponentials_abreast(x, out, low, tops, totals):
    """The same of the columns of x and out from `low` on."""
    tops[:], totals[:] = -np.inf, 0
    for k in range(len(x)):
        line = x[k, low : low + tops.size]
        for j in range(tops.size):
            tops[j] = line[j] if line[j] > tops[j] else tops[j]
    for k in range(len(x)):
        raise_line(x[k, low : low + tops.size], tops, out[k, low : low + tops.size])
        add_line(out[k, low : low + tops.size], totals)


@compiled
def raise_line(line, top, out):
    for j in range(line.size):
        out[j] = falling_exp(line[j] - at(top, j))


@compiled
def add_line(line, totals):
    for j in range(line.size):
        totals[j] += line[j]


@compiled
def row_sum(row):
    total = 0.0
    for i in range(0, row.size, CHAIN):
        total += line_sum(row[i : i + CHAIN])
    return row.dtype.type(total)


@intrinsic
def _highest(typingctx, row):
    """The maximum of a line but for its NaNs, by vectors: LLVM itself makes them only where it is told of none."""

    def generate(context, builder, signature, arguments):
        element, array = context.get_value_type(row.dtype), context.make_array(row)(context, builder, arguments[0])
        vector, index = ir.VectorType(element, BYTES * 8 // row.dtype.bitwidth), array.nitems.type
        tops, top = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, element)
        builder.store(ir.Constant(vector, [-math.inf] * vector.count), tops)
        builder.store(ir.Constant(element, -math.inf), top)

        def meet(value, highest):
            before = builder.load(highest)
            builder.store(builder.select(builder.fcmp_ordered(">", value, before), value, before), highest)

        whole = builder.and_(array.nitems, index(-vector.count))
        with cgutils.for_range_slice(builder, index(0), whole, index(vector.count)) as (i, _):
            place = builder.bitcast(builder.gep(array.data, [i]), vector.as_pointer())
            meet(builder.load(place, align=row.dtype.bitwidth // 8), tops)
        for lane in range(vector.count):
            meet(builder.extract_element(builder.load(tops), ir.IntType(32)(lane)), top)
        with cgutils.for_range_slice(builder, whole, array.nitems, index(1)) as (i, _):
            meet(builder.load(builder.gep(array.data, [i])), top)
        return builder.load(top)

    return row.dtype(row), generate


@regrouped
def dot(a, b):
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return a.dtype.type(total)
