"""Pooling window by window: calls of few windows, and the gradient of max pooling.

kernel, depths, rows, columns: tables.Windows.
"""

from __future__ import annotations

import numpy as np

from ..jit.compiled import allocating, compiled
from ..jit.vectors import interleave, put_pairs


@compiled
def max_windows(x, y, taps, kernel, depths, rows, columns, no_tap):
    R, S = kernel[0, 1], kernel[0, 2]
    step_d, step_h, step_w = kernel[1, 0], kernel[1, 1], kernel[1, 2]
    n, Z, P, Q = y.shape
    for u in range(n):
        for z in range(Z):
            d, t0, t1 = depths[z, 0], depths[z, 1], depths[z, 2]
            for p in range(P):
                h, r0, r1 = rows[p, 0], rows[p, 1], rows[p, 2]
                for q in range(Q):
                    w, s0, s1 = columns[q, 0], columns[q, 1], columns[q, 2]
                    inside = t0 < t1 and r0 < r1 and s0 < s1
                    highest, winner = x.dtype.type(-np.inf), (t0 * R + r0) * S + s0 if inside else no_tap
                    for t in range(t0, t1):
                        for r in range(r0, r1):
                            for s in range(s0, s1):
                                value = x[u, d + t * step_d, h + r * step_h, w + s * step_w]
                                wins = (value > highest) | (value != value)
                                highest = value if wins else highest
                                winner = (t * R + r) * S + s if wins else winner
                    y[u, z, p, q], taps[u, z, p, q] = highest, winner


@compiled
def mean_windows(x, y, kernel, depths, rows, columns, divisors):
    step_d, step_h, step_w = kernel[1, 0], kernel[1, 1], kernel[1, 2]
    n, Z, P, Q = y.shape
    for u in range(n):
        for z in range(Z):
            d, t0, t1 = depths[z, 0], depths[z, 1], depths[z, 2]
            for p in range(P):
                h, r0, r1 = rows[p, 0], rows[p, 1], rows[p, 2]
                for q in range(Q):
                    w, s0, s1 = columns[q, 0], columns[q, 1], columns[q, 2]
                    total = x.dtype.type(0)
                    for t in range(t0, t1):
                        for r in range(r0, r1):
                            for s in range(s0, s1):
                                total += x[u, d + t * step_d, h + r * step_h, w + s * step_w]
                    y[u, z, p, q] = total / divisors[z, p, q]


@compiled
def spread_windows(dy, dx, kernel, depths, rows, columns, divisors):
    """dx at each of a window's taps += its share of dy: the gradient of mean_windows."""
    step_d, step_h, step_w = kernel[1, 0], kernel[1, 1], kernel[1, 2]
    n, Z, P, Q = dy.shape
    dx[:] = 0
    for u in range(n):
        for z in range(Z):
            d, t0, t1 = depths[z, 0], depths[z, 1], depths[z, 2]
            for p in range(P):
                h, r0, r1 = rows[p, 0], rows[p, 1], rows[p, 2]
                for q in range(Q):
                    w, s0, s1 = columns[q, 0], columns[q, 1], columns[q, 2]
                    share = dy[u, z, p, q] / divisors[z, p, q]
                    for t in range(t0, t1):
                        for r in range(r0, r1):
                            for s in range(s0, s1):
                                dx[u, d + t * step_d, h + r * step_h, w + s * step_w] += share


@allocating
def scatter_windows(dy, taps, dx, starts, offsets, edges, numbers, low, high):
    """dx[at the window's tap] += dy, for planes low:high; taps that no forward made are passed over.

    starts, offsets: of every window the place of its first tap in a plane of x, and from there to each tap. edges: of
    windows that reach outside x which they are, and along each axis the range of their taps inside. numbers: of every
    tap its number along each axis.
    """
    gradients, winners, target = dy.reshape(-1), taps.reshape(-1), dx.reshape(-1)
    windows, plane = starts.size, dx.shape[1] * dx.shape[2] * dx.shape[3]
    for u in range(low, high):
        for i in range(u * plane, (u + 1) * plane):
            target[np.uint64(i)] = 0
        strays = False
        for e in range(len(edges)):
            strays |= _is_stray(winners, u * windows, edges, e, numbers)
        if not strays:
            _add(target, u * plane, gradients, u * windows, winners, u * windows, starts, offsets)
        else:
            inside = winners[u * windows : (u + 1) * windows].copy()
            for e in range(len(edges)):
                if _is_stray(inside, 0, edges, e, numbers):
                    inside[edges[e, 0]] = taps.dtype.type(-1)
            _add(target, u * plane, gradients, u * windows, inside, 0, starts, offsets)


@compiled
def _is_stray(taps, first, edges, e, numbers):
    """Whether the tap of this window, which reaches outside x, stands there."""
    tap = np.uint64(taps[np.uint64(first + edges[e, 0])])
    if tap >= np.uint64(len(numbers)):
        return False
    t, r, s = numbers[tap, 0], numbers[tap, 1], numbers[tap, 2]
    inside = (edges[e, 1] <= t) & (t < edges[e, 2]) & (edges[e, 3] <= r) & (r < edges[e, 4])
    return not (inside & (edges[e, 5] <= s) & (s < edges[e, 6]))


@compiled
def _add(target, place, gradients, first, taps, first_tap, starts, offsets):
    count = np.uint64(offsets.size)
    for i in range(starts.size):
        tap = np.uint64(taps[np.uint64(first_tap + i)])
        if tap < count:
            target[np.uint64(place + starts[np.uint64(i)] + offsets[tap])] += gradients[np.uint64(first + i)]


@compiled
def scatter_pairs(dy, taps, dx, kernel, depths, rows, clear, low, high):
    """The same of windows that share no position and are two columns wide, one beside the other from the first on.

    clear: whether there are positions that no tap reaches.
    """
    R, S = kernel[0, 1], kernel[0, 2]
    (_, D, H, W), (_, Z, P, Q) = dx.shape, dy.shape
    for u in range(low, high):
        if clear:
            dx[u] = 0
        for z in range(Z):
            d, t0, t1 = depths[z, 0], depths[z, 1], depths[z, 2]
            for p in range(P):
                h, r0, r1 = rows[p, 0], rows[p, 1], rows[p, 2]
                row = ((u * Z + z) * P + p) * Q
                for t in range(t0, t1):
                    for r in range(r0, r1):
                        line = ((u * D + d + t * kernel[1, 0]) * H + h + r * kernel[1, 1]) * W
                        put_pairs(dx, line, dy, taps, row, (t * R + r) * S, Q)


@compiled
def mean_pairs(x, y, divisors, kernel, low, high):
    """The means of windows that lie side by side from the first position on, two columns wide, for planes low:high."""
    T, R = kernel[0, 0], kernel[0, 1]
    (_, D, H, W), (_, Z, P, Q) = x.shape, y.shape
    given, result, parts = x.reshape(-1), y.reshape(-1), divisors.reshape(-1)
    for u in range(low, high):
        for z in range(Z):
            for p in range(P):
                row, part = ((u * Z + z) * P + p) * Q, (z * P + p) * Q
                for q in range(Q):
                    result[np.uint64(row + q)] = 0
                for t in range(T):
                    for r in range(R):
                        line = ((u * D + z * T + t) * H + p * R + r) * W
                        for q in range(Q):
                            total = result[np.uint64(row + q)] + given[np.uint64(line + 2 * q)]
                            result[np.uint64(row + q)] = total + given[np.uint64(line + 2 * q + 1)]
                for q in range(Q):
                    result[np.uint64(row + q)] /= parts[np.uint64(part + q)]


@allocating
def spread_pairs(dy, dx, divisors, kernel, clear, low, high):
    """The gradient of mean_pairs. clear: whether there are positions under no window."""
    T, R = kernel[0, 0], kernel[0, 1]
    (_, D, H, W), (_, Z, P, Q) = dx.shape, dy.shape
    given, target, parts = dy.reshape(-1), dx.reshape(-1), divisors.reshape(-1)
    shares, zero, none = np.empty(P * Q, dy.dtype), dy.dtype.type(0), dy.dtype.type(np.nan)
    for u in range(low, high):
        if clear:
            dx[u] = 0
        for z in range(Z):
            for i in range(P * Q):
                at = np.uint64(z * P * Q + i)
                shares[np.uint64(i)] = given[np.uint64(u * Z * P * Q) + at] / parts[at]
            for t in range(T):
                for r in range(R):
                    line = ((u * D + z * T + t) * H + r) * W
                    interleave(target, line, R * W, shares, 0, 0, Q, P, 2 * Q, zero, none)
