"""Pooling where channels stand last: pixel by pixel, all channels of each by vector instructions.

x, y and their gradients have three axes of images. depths, rows, columns: of windows where their first tap stands and
the range of their taps inside the image; of a gradient's positions the windows over each (tables.py).
Results are those of lines low:high.
"""

from __future__ import annotations

import numpy as np

from ..jit.channels import claims, highest, make_totals
from ..jit.compiled import allocating, compiled

_sums, _means = make_totals(divided=False), make_totals(divided=True)


@allocating
def max_pixels(x, y, taps, kernel, depths, rows, columns, no_tap, low, high):
    (_, D, H, W, C), (_, Z, P, Q, _) = x.shape, y.shape
    given, values, winners = x.reshape(-1), y.reshape(-1), taps.reshape(-1)
    offsets, numbers, count = np.empty(kernel[0].prod(), np.int64), np.empty(kernel[0].prod(), np.int64), 0
    for line in range(low, high):
        depth, row = depths[line // P % Z], rows[line % P]
        corner = (line // (Z * P) * D + depth[0]) * H + row[0]
        for q in range(Q):
            column = columns[q]
            if q == 0 or column[1] != columns[q - 1, 1] or column[2] != columns[q - 1, 2]:
                count = _list_taps(offsets, numbers, kernel, depth, row, column, H, W, C)
            none, at, to = numbers[0] if count else no_tap, (corner * W + column[0]) * C, (line * Q + q) * C
            highest(given, at, offsets, numbers, count, none, C, values, winners, to)


@allocating
def mean_pixels(x, y, kernel, depths, rows, columns, divisors, low, high):
    (_, D, H, W, C), (_, Z, P, Q, _) = x.shape, y.shape
    given, means = x.reshape(-1), y.reshape(-1)
    offsets, numbers, count = np.empty(kernel[0].prod(), np.int64), np.empty(kernel[0].prod(), np.int64), 0
    for line in range(low, high):
        z, p = line // P % Z, line % P
        depth, row = depths[z], rows[p]
        corner = (line // (Z * P) * D + depth[0]) * H + row[0]
        for q in range(Q):
            column = columns[q]
            if q == 0 or column[1] != columns[q - 1, 1] or column[2] != columns[q - 1, 2]:
                count = _list_taps(offsets, numbers, kernel, depth, row, column, H, W, C)
            at, to = (corner * W + column[0]) * C, (line * Q + q) * C
            _means(given, at, offsets, count, divisors[z, p, q], C, means, to)


@compiled
def _list_taps(offsets, numbers, kernel, depth, row, column, H, W, C):
    """Of the taps of a window inside the image: the element from its first tap on, and the number; how many."""
    count = 0
    for t in range(depth[1], depth[2]):
        for r in range(row[1], row[2]):
            for s in range(column[1], column[2]):
                offsets[count] = ((t * kernel[1, 0] * H + r * kernel[1, 1]) * W + s * kernel[1, 2]) * C
                numbers[count] = (t * kernel[0, 1] + r) * kernel[0, 2] + s
                count += 1
    return count


@allocating
def claim_pixels(dy, taps, dx, kernel, depths, rows, columns, low, high):
    """The gradient of max_pixels; taps that no forward made are passed over."""
    (_, D, H, W, C), (_, Z, P, Q, _) = dx.shape, dy.shape
    given, winners, target = dy.reshape(-1), taps.reshape(-1), dx.reshape(-1)
    most, step, count = depths.most * rows.most * columns.most, columns.stride, 0
    offsets, numbers = np.empty(most, np.int64), np.empty(most, np.int64)
    for line in range(low, high):
        d, h, image = line // H % D, line % H, line // (D * H) * Z * P * Q
        for begin in range(min(step, W)):
            for w in range(begin, W, step):
                if not columns.like_last[w]:
                    count = _list_windows(offsets, numbers, kernel, depths, rows, columns, d, h, w, P, Q, C)
                at = (image + columns.windows[columns.firsts[w]]) * C if count else 0
                claims(given, winners, at, offsets, numbers, count, C, target, (line * W + w) * C)


@compiled
def _list_windows(offsets, numbers, kernel, depths, rows, columns, d, h, w, P, Q, C):
    """Of the windows over a position: the element from the first of their columns on, and the tap; how many."""
    count = 0
    for i in range(depths.firsts[d], depths.firsts[d + 1]):
        for j in range(rows.firsts[h], rows.firsts[h + 1]):
            place = (depths.windows[i] * P + rows.windows[j]) * Q - columns.windows[columns.firsts[w]]
            tap = (depths.taps[i] * kernel[0, 1] + rows.taps[j]) * kernel[0, 2]
            for k in range(columns.firsts[w], columns.firsts[w + 1]):
                offsets[count], numbers[count] = (place + columns.windows[k]) * C, tap + columns.taps[k]
                count += 1
    return count


@allocating
def spread_pixels(dy, dx, depths, rows, columns, divisors, low, high):
    """The gradient of mean_pixels. Lines of windows are divided once, as long as they meet the next line of dx."""
    (_, D, H, W, C), (_, Z, P, Q, _) = dx.shape, dy.shape
    given, target, one, here = dy.reshape(-1), dx.reshape(-1), dy.dtype.type(1), np.zeros(1, np.int64)
    shares, held = np.empty(depths.span * rows.span * Q * C, dy.dtype), np.full(depths.span * rows.span, -1)
    most, count = depths.most * rows.most, 0
    met, offsets = np.empty(most, np.int64), np.empty(most * columns.most, np.int64)
    for line in range(low, high):
        d, h, image, lines = line // H % D, line % H, line // (D * H), 0
        for i in range(depths.firsts[d], depths.firsts[d + 1]):
            for j in range(rows.firsts[h], rows.firsts[h + 1]):
                z, p = depths.windows[i], rows.windows[j]
                slot, source = z % depths.span * rows.span + p % rows.span, (image * Z + z) * P + p
                for q in range(Q if held[slot] != source else 0):
                    _means(given, (source * Q + q) * C, here, 1, divisors[z, p, q], C, shares, (slot * Q + q) * C)
                held[slot], met[lines] = source, slot
                lines += 1
        for begin in range(min(columns.stride, W)):
            for w in range(begin, W, columns.stride):
                first, end = columns.firsts[w], columns.firsts[w + 1]
                if not columns.like_last[w]:
                    count = 0
                    for i in range(lines):
                        for k in range(first, end):
                            offsets[count] = (met[i] * Q + columns.windows[k] - columns.windows[first]) * C
                            count += 1
                at = columns.windows[first] * C if count else 0
                _sums(shares, at, offsets, count, one, C, target, (line * W + w) * C)
