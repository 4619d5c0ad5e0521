"""The weight gradient: dy with its channels as lanes of vectors, x read in place, one tap of one channel a row.

A gradient is the sum of chains of PIXELS products, in an order that depends on the shapes alone.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..axis import Axis
from .blocks import WORTH, over_blocks
from .compiled import allocating, compiled
from .layout import Triple, three
from .planes import lay_out
from .vectors import BYTES, lanes, make_tile, transpose_square

TALL, PIXELS = 12, 192  # taps of a tile; products in a chain
LONE = 14  # taps of a tile a vector wide: two for 5x5 take a sixth less than three of TALL
MANY_REGISTERS = BYTES != 32
STRIP = 1 << 18  # bytes of x, of transposed dy or of sums that stay in the second cache
MOST = 1 << 22  # elements of transposed dy, of laid-out x or of sums that are held at a time
SHARES, SHARE = 8, 256  # of strips, at most, and windows of each at least

_lone1, _tall2 = make_tile(LONE, 1, packed=False), make_tile(TALL, 2, packed=False)
_half2, _half4 = make_tile(TALL // 2, 2, packed=False), make_tile(TALL // 2, 4, packed=False)


class Plan(NamedTuple):
    """How one group's gradient is cut. chunk: channels whose taps are summed together. images: laid out together.
    strip: depths, rows and columns of windows; strips: of them in an image. shares: of all strips, whose sums are added
    in order. lines: channels of dy, rounded up to vectors."""

    chunk: int
    images: int
    strip: Triple
    strips: int
    shares: int
    lines: int
    padded: bool
    extents: Triple
    taps: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray
    by_strip: bool
    worth: int
    run: int


@lru_cache(1024)
def _plan(n: int, groups: int, c: int, k: int, axes: tuple[Axis, ...], dtype: np.dtype) -> Plan | None:
    """None: for shapes that need too much memory this way."""
    axes = three(axes)
    kernel, windows = math.prod(axis.taps for axis in axes), math.prod(axis.windows for axis in axes)
    vector = lanes(dtype)
    lines = -(-k // vector) * vector
    by_strip = c * kernel * lines * dtype.itemsize <= STRIP
    depths, rows, columns = (axis.windows for axis in axes)
    while by_strip and (depths > 1 or rows > 1) and depths * rows * columns * lines * dtype.itemsize > STRIP:
        depths, rows = ((depths + 1) // 2, rows) if depths > 1 else (depths, (rows + 1) // 2)
    strips = -(-axes[0].windows // depths) * -(-axes[1].windows // rows)
    padded = any(axis.reaches_outside for axis in axes)
    strip = depths, rows, columns
    extents = tuple(axis.span(count) if padded else axis.extent for axis, count in zip(axes, strip, strict=True))
    plane, pixels = math.prod(extents), math.prod(strip)
    worth = 2 * n * windows * c * k * kernel // WORTH
    shares = max(1, min(SHARES, n * strips, n * windows // SHARE)) if by_strip and worth else 1
    chunk = c
    if not by_strip:
        chunk = max(1, min(-(-c // 8), STRIP // (dtype.itemsize * plane)))
        while chunk * kernel % TALL and chunk * 2 <= -(-c // 4) and chunk * kernel < 8 * TALL:
            chunk *= 2
    images = max(1, min(n // shares, -(-2 * PIXELS // windows))) if strips == 1 else 1
    run = chunk * images * plane if padded else 0
    if max(pixels * lines, run, chunk * kernel * lines) > MOST:
        return None
    apart = images * plane if padded else plane
    places = [
        channel * apart + (t * axes[0].dilation * extents[1] + r * axes[1].dilation) * extents[2] + s * axes[2].dilation
        for channel in range(chunk)
        for t, r, s in itertools.product(*(range(axis.taps) for axis in axes))
    ]
    taps = np.array(places + [0] * (LONE - 1), np.int64)  # a last tile reaches past them
    steps = np.array([axis.stride for axis in axes]) * (extents[1] * extents[2], extents[2], 1)
    grid = (np.arange(count) * step for count, step in zip(strip, steps, strict=True))
    windows_at = sum(np.meshgrid(*grid, indexing="ij"), np.int64(0)).reshape(-1)
    image = np.arange(images)[:, None] * (plane if padded else groups * c * plane)
    return Plan(
        chunk,
        images,
        strip,
        strips,
        shares,
        lines,
        padded,
        extents,
        taps,
        np.arange(PIXELS, dtype=np.int64) * lines,
        (image + windows_at).reshape(-1),
        by_strip,
        worth,
        run,
    )


def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, groups: int, axes: tuple[Axis, ...]) -> bool:
    """dw (K, C/groups, *R); whether it was computed. dy, x and dw are contiguous."""
    n, (K, C) = len(x), dw.shape[:2]
    axes = three(axes)
    plan = _plan(n, groups, C, K // groups, axes, x.dtype)
    if plan is None:
        return False
    rows, out = dy.reshape(n, K, -1), dw.reshape(K, -1)
    src = x.reshape(n, groups * C, *(axis.extent for axis in axes))
    along = tuple((-axis.before, axis.stride, axis.windows) for axis in axes)
    cut = plan.chunk, plan.images, plan.strip, plan.padded, plan.extents
    for group in range(groups):
        operands = Operands(
            rows, src, group, K // groups, C, out.shape[1] // C, *cut, along, plan.columns, plan.pixels, plan.taps
        )
        (_by_strip if plan.by_strip else _by_chunk)(operands, out, plan)
    return True


class Operands(NamedTuple):
    """One group's arrays and plan, as compiled loops take them. axes: where each one's first window begins, the step to
    the next, and how many there are. columns: where each pixel of a chain has its lanes."""

    dy: np.ndarray
    x: np.ndarray
    group: int
    K: int
    C: int
    kernel: int
    chunk: int
    images: int
    strip: Triple
    padded: bool
    extents: Triple
    axes: tuple[Triple, ...]
    columns: np.ndarray
    pixels: np.ndarray
    taps: np.ndarray


def _by_strip(o: Operands, dw: np.ndarray, p: Plan) -> None:
    """Shares of the strips on several threads; each strip of dy is transposed where it stays in cache."""
    pixels, vector = math.prod(p.strip), lanes(o.x.dtype)
    sums = np.zeros((p.shares, 1, len(p.taps), p.lines), dw.dtype)

    def work(low: int, high: int, turned: np.ndarray, planes: np.ndarray) -> None:
        turned = turned.reshape(p.images, pixels, p.lines)
        _accumulate(o, sums, 0, turned, True, planes, vector, 0, len(o.x) * p.strips, low, high)

    over_blocks(work, p.shares, p.worth, dw.dtype, p.images * pixels * p.lines, p.run + vector)
    _gather(sums, dw, o.group * o.K, o.K, o.C, o.kernel, p.chunk, 0, vector)


def _by_chunk(o: Operands, dw: np.ndarray, p: Plan) -> None:
    """Chunks of channels on several threads, over as many images as may be transposed at a time."""
    n, pixels, vector = len(o.x), o.dy.shape[2], lanes(o.x.dtype)
    held = max(1, MOST // (pixels * p.lines * p.images)) * p.images
    chunks, most = -(-o.C // p.chunk), max(1, MOST // (len(p.taps) * p.lines))
    for first in range(0, chunks, most):
        sums = np.zeros((1, min(most, chunks - first), len(p.taps), p.lines), dw.dtype)
        for n0 in range(0, n, held):
            _add_images(o, sums, first, p, vector, n0, min(n, n0 + held))
        _gather(sums, dw, o.group * o.K, o.K, o.C, o.kernel, p.chunk, first, vector)


def _add_images(o: Operands, sums: np.ndarray, first: int, p: Plan, vector: int, n0: int, n1: int) -> None:
    turned = np.empty((n1 - n0, o.dy.shape[2], p.lines), sums.dtype)

    def turn(low: int, high: int) -> None:
        _transpose(o.dy, turned, n0, 0, o.dy.shape[2], o.group * o.K, o.K, vector, low, high)

    def work(low: int, high: int, planes: np.ndarray) -> None:
        _accumulate(o, sums, first, turned, False, planes, vector, n0, n1, low, high)

    over_blocks(turn, n1 - n0, p.worth, sums.dtype)
    over_blocks(work, sums.shape[1], p.worth, sums.dtype, p.run + vector)


@compiled
def _transpose(dy, lines, first_image, first_pixel, pixels, first_channel, channels, lanes, low, high):
    """lines[n, pixel, channel] = dy[n, channel, pixel], for `pixels` of an image; what stands in the lanes past the
    channels does not count."""
    apart, source, target = dy.shape[2], dy.reshape(-1), lines.reshape(-1)
    for n in range(low, high):
        for k0 in range(0, channels, lanes):
            line = ((first_image + n) * dy.shape[1] + first_channel + k0) * apart + first_pixel
            whole = 0
            if line + (lanes - 1) * apart + pixels <= source.size:
                whole = pixels // lanes * lanes
                for p in range(0, whole, lanes):
                    to = (n * lines.shape[1] + p) * lines.shape[2] + k0
                    transpose_square(target, to, lines.shape[2], source, line + p, apart)
            for p in range(whole, pixels):
                for k in range(min(lanes, channels - k0)):
                    lines[n, p, k0 + k] = source[line + k * apart + p]
                for k in range(channels - k0, lanes):
                    lines[n, p, k0 + k] = 0


@allocating
def _accumulate(o, sums, first, turned, by_strip, planes, lanes, n0, n1, low, high):
    """sums[share, chunk, tap, k] += what strips n0:n1 give. Units: chunks, or shares of the strips."""
    dy, x, C, chunk = o.dy, o.x, o.C, o.chunk
    shares, flat, kernel, one, zero = sums.shape[0], x.reshape(-1), o.kernel, (1, 1, 1), dy.dtype.type(0)
    (d_start, d_step, Z), (h_start, h_step, P), (w_start, _, Q) = o.axes
    depths, rows, _ = o.strip
    high_strips = -(-P // rows)
    strips = -(-Z // depths) * high_strips
    for u in range(low, high):
        share, c0 = (u, 0) if by_strip else (0, (first + u) * chunk)
        out = sums[share, 0 if by_strip else u].reshape(-1)
        width = min(chunk, C - c0)
        own = o.taps.copy()
        own[width * kernel :] = 0  # of channels that the last chunk has not
        start, end = (n1 * share // shares, n1 * (share + 1) // shares) if by_strip else (n0, n1)
        for number in range(start, end, o.images):
            some = min(o.images, end - number)
            n, z, p = number // strips, number % strips // high_strips * depths, number % high_strips * rows
            pixels = min(depths, Z - z) * min(rows, P - p) * Q
            d, h, channel = d_start + z * d_step, h_start + p * h_step, o.group * C + c0
            at, source = 0, planes
            if o.padded:
                corner = d, h, w_start
                lay_out(x, planes, zero, True, n, o.images, channel, width, one, corner, one, o.extents)
            else:
                plane = (n * x.shape[1] + channel) * x.shape[2] + d
                at, source = (plane * x.shape[3] + h) * x.shape[4] + w_start, flat
            if by_strip:
                _transpose(dy, turned, n, (z * P + p) * Q, pixels, o.group * o.K, o.K, lanes, 0, some)
            image = 0 if by_strip else n - n0
            _products(source, at, turned, image, out, some * pixels, o.columns, o.pixels, own, width * kernel, lanes)


@compiled
def _products(source, at, lines, image, out, every, columns, pixels, taps, rows, lanes):
    """out[tap, k] += sum over pixels of lines[pixel, k] * source[at + pixel + tap]."""
    flat, width = lines.reshape(-1), lines.shape[2]
    first = image * lines.shape[1] * width
    for p in range(0, every, PIXELS):
        T = min(PIXELS, every - p)
        k = 0
        while k < width:
            left, v = (width - k) // lanes, first + p * width + k
            if left >= 4 and MANY_REGISTERS:
                for t in range(0, rows, TALL // 2):
                    _half4(flat, v, columns, 0, source, at, pixels, p, taps, t, T, out, t * width + k, width, 1)
                k += 4 * lanes
            elif left >= 2 and MANY_REGISTERS:
                for t in range(0, rows, TALL):
                    _tall2(flat, v, columns, 0, source, at, pixels, p, taps, t, T, out, t * width + k, width, 1)
                k += 2 * lanes
            elif left >= 2:
                for t in range(0, rows, TALL // 2):
                    _half2(flat, v, columns, 0, source, at, pixels, p, taps, t, T, out, t * width + k, width, 1)
                k += 2 * lanes
            else:
                for t in range(0, rows, LONE):
                    _lone1(flat, v, columns, 0, source, at, pixels, p, taps, t, T, out, t * width + k, width, 1)
                k += lanes


@compiled
def _gather(sums, dw, first_row, K, C, kernel, chunk, first, lanes):
    """dw[k, (c, tap)] from sums[share, chunk, (c, tap), k], the shares added in order."""
    shares, chunks, _, width = sums.shape
    target = dw.reshape(-1)
    for u in range(chunks):
        c0 = (first + u) * chunk
        rows = min(chunk, C - c0) * kernel
        total = sums[0, u].reshape(-1)
        for share in range(1, shares):
            other = sums[share, u].reshape(-1)
            for i in range(rows * width):
                total[i] += other[i]
        whole_k, whole_t = K // lanes * lanes, rows // lanes * lanes
        for k in range(0, whole_k, lanes):
            for t in range(0, whole_t, lanes):
                at = (first_row + k) * dw.shape[1] + c0 * kernel + t
                transpose_square(target, at, dw.shape[1], total, t * width + k, width)
        for k in range(K):
            for t in range(whole_t if k < whole_k else 0, rows):
                target[(first_row + k) * dw.shape[1] + c0 * kernel + t] = total[t * width + k]
