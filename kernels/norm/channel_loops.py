"""Batch normalisation of some channels, as compiled loops over (N, C, plane).

Long planes are lines of their own. Short ones, as of (N, C), are too short for vectors: there a line is an image's
planes of several channels behind each other, and what belongs to a channel stands in each of its columns.
"""

from __future__ import annotations

import numpy as np

from ..jit.compiled import allocating, compiled, inlined, regrouped
from ..jit.elements import at
from ..jit.reduce import CHAIN, ROWS, line_sum, square_sum

LONG = 64  # elements of a plane
COLUMNS = 4096  # of several channels, at a time: what is kept for each of them stays in the second cache


@inlined
def _normalise(row, other, out, centre, factor, shift, added, kink):
    zero = row.dtype.type(0)
    if added:
        for j in range(out.size):
            value = (row[j] - at(centre, j)) * at(factor, j) + at(shift, j) + other[j]
            out[j] = zero if value <= kink else value
    else:
        for j in range(out.size):
            value = (row[j] - at(centre, j)) * at(factor, j) + at(shift, j)
            out[j] = zero if value <= kink else value


@inlined
def _passed(gradient, result, j, kink):
    """What of a gradient passes ReLU, which gave `result`."""
    return gradient.dtype.type(0) if result[j] <= kink else gradient[j]


@inlined
def _differentiate(gradient, result, row, out, other, centre, less, slope, factor, of_batch, added, kink):
    """The gradient of _normalise."""
    if of_batch:
        for j in range(out.size):
            dz = _passed(gradient, result, j, kink)
            out[j] = (dz - at(less, j) - (row[j] - at(centre, j)) * at(slope, j)) * at(factor, j)
    else:
        for j in range(out.size):
            out[j] = _passed(gradient, result, j, kink) * at(factor, j)
    if added:
        for j in range(out.size):
            other[j] = _passed(gradient, result, j, kink)


@compiled
def _inverse_deviation(var, eps):
    return type(var)(1) / np.sqrt(var + eps)


@compiled
def forward_lines(x, residual, y, mean, var, gamma, beta, eps, at, to, channels, of_batch, added, kink):
    """`channels` channels, which begin at `at` in x and residual, and at `to` in all others.

    of_batch: mean and var are to be found, else they are given. added: whether the residual counts. kink: 0 where ReLU
    counts, else NaN, which nothing is at most.
    """
    together = 1 if of_batch else channels  # a channel whose statistics were found is still in a cache
    for low in range(0, channels, together):
        for k in range(low, low + together):
            if of_batch:
                mean[to + k], var[to + k] = _statistics_of_lines(x, at + k)
        for n in range(len(x)):
            for k in range(low, low + together):
                i, c = at + k, to + k
                factor = gamma[c] * _inverse_deviation(var[c], eps)
                _normalise(x[n, i], residual[n, i], y[n, c], mean[c], factor, beta[c], added, kink)


@compiled
def backward_lines(
    dy, x, y, dx, dresidual, mean, var, gamma, dgamma, dbeta, eps, at, to, channels, of_batch, added, kink
):
    """The gradients of forward_lines, which gave y."""
    N, plane, dtype = len(x), x.shape[2], x.dtype.type
    for k in range(channels):
        i, c = at + k, to + k
        deviation = _inverse_deviation(var[c], eps)
        total, product = 0.0, 0.0
        for n in range(N):
            for j in range(0, plane, CHAIN):
                gradient, row = dy[n, i, j : j + CHAIN], x[n, i, j : j + CHAIN]
                sums = _gradient_sums(gradient, y[n, i, j : j + CHAIN], row, mean[c], kink)
                total += sums[0]
                product += sums[1]
        dbeta[c], dgamma[c] = total, product * deviation
        less, slope = dtype(dbeta[c] / (N * plane)), dtype(dgamma[c] / (N * plane) * deviation)
        factor = gamma[c] * deviation
        for n in range(N):
            gradient, result, row, out, other = dy[n, i], y[n, i], x[n, i], dx[n, c], dresidual[n, c]
            _differentiate(gradient, result, row, out, other, mean[c], less, slope, factor, of_batch, added, kink)


@regrouped
def _gradient_sums(gradient, result, line, centre, kink):
    """The sum of what passes ReLU, and that of its products with the distances from the centre."""
    total, product = line.dtype.type(0), line.dtype.type(0)
    for j in range(line.size):
        dz = _passed(gradient, result, j, kink)
        total += dz
        product += dz * (line[j] - centre)
    return total, product


@compiled
def _statistics_of_lines(x, c):
    N, size = len(x), x.shape[2]
    total = 0.0
    for n in range(N):
        for i in range(0, size, CHAIN):
            total += line_sum(x[n, c, i : i + CHAIN])
    mean, total = x.dtype.type(total / (N * size)), 0.0
    for n in range(N):
        for i in range(0, size, CHAIN):
            total += square_sum(x[n, c, i : i + CHAIN], mean)
    return mean, total / (N * size)


@compiled
def forward_columns(x, residual, y, mean, var, gamma, beta, eps, at, to, channels, of_batch, added, kink):
    """As forward_lines."""
    few = COLUMNS // x.shape[2]
    for k in range(0, channels, few):
        of_columns = min(few, channels - k), of_batch, added, kink
        _forward_columns(x, residual, y, mean, var, gamma, beta, eps, at + k, to + k, *of_columns)


@allocating
def _forward_columns(x, residual, y, mean, var, gamma, beta, eps, at, to, channels, of_batch, added, kink):
    plane, end = x.shape[2], to + channels
    read, written = slice(at * plane, (at + channels) * plane), slice(to * plane, end * plane)
    rows, others, results = _rows(x), _rows(residual), _rows(y)
    if of_batch:
        _statistics_of_columns(rows, read, mean[to:end], var[to:end])
    factor, of_columns = np.empty(channels, x.dtype), np.empty((3, channels * plane), x.dtype)
    for k in range(channels):
        factor[k] = gamma[to + k] * _inverse_deviation(var[to + k], eps)
    centre, factors, shift = of_columns[0], of_columns[1], of_columns[2]
    _spread(mean[to:end], centre), _spread(factor, factors), _spread(beta[to:end], shift)
    for n in range(len(x)):
        _normalise(rows[n, read], others[n, read], results[n, written], centre, factors, shift, added, kink)


@compiled
def backward_columns(
    dy, x, y, dx, dresidual, mean, var, gamma, dgamma, dbeta, eps, at, to, channels, of_batch, added, kink
):
    """As backward_lines."""
    few = COLUMNS // x.shape[2]
    for k in range(0, channels, few):
        of_columns = min(few, channels - k), of_batch, added, kink
        _backward_columns(dy, x, y, dx, dresidual, mean, var, gamma, dgamma, dbeta, eps, at + k, to + k, *of_columns)


@allocating
def _backward_columns(
    dy, x, y, dx, dresidual, mean, var, gamma, dgamma, dbeta, eps, at, to, channels, of_batch, added, kink
):
    plane, end, count = x.shape[2], to + channels, len(x) * x.shape[2]
    read, written = slice(at * plane, (at + channels) * plane), slice(to * plane, end * plane)
    gradients, rows, results, outs, others = _rows(dy), _rows(x), _rows(y), _rows(dx), _rows(dresidual)
    of_channels, of_columns = np.empty((3, channels), x.dtype), np.empty((4, channels * plane), x.dtype)
    centre, less, slope, factor = of_columns[0], of_columns[1], of_columns[2], of_columns[3]
    _spread(mean[to:end], centre)
    _gradient_sums_of_columns(gradients, rows, results, read, centre, dgamma[to:end], dbeta[to:end], kink)
    for k in range(channels):
        c = to + k
        deviation = _inverse_deviation(var[c], eps)
        dgamma[c] *= deviation
        of_channels[0, k], of_channels[1, k] = dbeta[c] / count, dgamma[c] / count * deviation
        of_channels[2, k] = gamma[c] * deviation
    _spread(of_channels[0], less), _spread(of_channels[1], slope), _spread(of_channels[2], factor)
    for n in range(len(x)):
        gradient, result, row = gradients[n, read], results[n, read], rows[n, read]
        out, other = outs[n, written], others[n, written]
        _differentiate(gradient, result, row, out, other, centre, less, slope, factor, of_batch, added, kink)


@allocating
def _rows(a):
    """(N, C, plane) as (N, C * plane)."""
    return a.reshape(len(a), a.shape[1] * a.shape[2])


@allocating
def _statistics_of_columns(rows, read, mean, var):
    size = read.stop - read.start
    part, centre = np.empty(size, rows.dtype), np.zeros(size, rows.dtype)
    count = len(rows) * (size // mean.size)
    for found in (mean, var):
        totals = np.zeros(mean.size, np.float64)
        for low in range(0, len(rows), ROWS):
            part[:] = 0
            for n in range(low, min(len(rows), low + ROWS)):
                row = rows[n, read]
                if found is mean:
                    for j in range(size):
                        part[j] += row[j]
                else:
                    for j in range(size):
                        part[j] += (row[j] - centre[j]) * (row[j] - centre[j])
            _fold(part, totals)
        found[:] = totals / count
        _spread(mean, centre)


@allocating
def _gradient_sums_of_columns(gradients, rows, results, read, centre, dgamma, dbeta, kink):
    """dbeta, and dgamma but for the deviation."""
    size = centre.size
    part, product = np.empty(size, rows.dtype), np.empty(size, rows.dtype)
    sums, products = np.zeros(dbeta.size, np.float64), np.zeros(dbeta.size, np.float64)
    for low in range(0, len(rows), ROWS):
        part[:], product[:] = 0, 0
        for n in range(low, min(len(rows), low + ROWS)):
            gradient, row, result = gradients[n, read], rows[n, read], results[n, read]
            for j in range(size):
                dz = _passed(gradient, result, j, kink)
                part[j] += dz
                product[j] += dz * (row[j] - centre[j])
        _fold(part, sums)
        _fold(product, products)
    dbeta[:], dgamma[:] = sums, products


@regrouped
def _fold(columns, totals):
    """Add each channel's columns to its total."""
    each = columns.size // totals.size
    for k in range(totals.size):
        total = 0.0
        for j in range(each):
            total += columns[k * each + j]
        totals[k] += total


@compiled
def _spread(values, columns):
    """The values of channels in each of their columns."""
    each = columns.size // values.size
    for k in range(values.size):
        for j in range(k * each, (k + 1) * each):
            columns[j] = values[k]
