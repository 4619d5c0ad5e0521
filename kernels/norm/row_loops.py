"""Group and layer normalisation as compiled loops over rows, whose elements share a mean and a variance.

A row is some channels of `plane` elements each. Where plane is 1, as in layer normalisation, a row is a line; else each
channel of it is one.
"""

from __future__ import annotations

import numpy as np

from ..jit.compiled import allocating, compiled, inlined
from ..jit.elements import at
from ..jit.reduce import CHAIN, gradient_sums, line_sum, square_sum


@allocating
def forward(x, y, mean, var, gamma, beta, eps, first, end):
    """x, y: (rows, channels, plane); gamma, beta: (groups, channels); row r is of group r % groups."""
    channels, plane, one = x.shape[1], x.shape[2], x.dtype.type(1)
    factors = np.empty(channels, x.dtype)
    for r in range(first, end):
        row, out, group = x[r].reshape(-1), y[r].reshape(-1), r % len(gamma)
        mean[r] = _sum(row) / row.size
        var[r] = _square_sum(row, mean[r]) / row.size
        deviation = one / np.sqrt(var[r] + eps)
        for c in range(channels):
            factors[c] = gamma[group, c] * deviation
        if plane == 1:
            _normalise(row, out, mean[r], factors, beta[group])
        else:
            for c in range(channels):
                _normalise(x[r, c], y[r, c], mean[r], factors[c], beta[group, c])


@allocating
def backward(dy, x, dx, mean, var, gamma, dgamma, dbeta, eps, first, end):
    """dgamma, dbeta: (groups, channels) of float64, to which those of these rows are added."""
    channels, plane, dtype = x.shape[1], x.shape[2], x.dtype.type
    size, dz = channels * plane, np.empty(channels, x.dtype)
    for r in range(first, end):
        group, centre = r % len(gamma), mean[r]
        deviation = dtype(1) / np.sqrt(var[r] + eps)
        total, product = 0.0, 0.0
        if plane == 1:
            gradient, row = dy[r].reshape(-1), x[r].reshape(-1)
            _add(gradient, row, centre, deviation, dgamma[group], dbeta[group])
            for c in range(channels):
                dz[c] = gradient[c] * gamma[group, c]
            total, product = _gradient_sums(dz, row, centre)
        else:
            for c in range(channels):
                sums = _gradient_sums(dy[r, c], x[r, c], centre)
                dbeta[group, c] += sums[0]
                dgamma[group, c] += sums[1] * deviation
                total += gamma[group, c] * sums[0]
                product += gamma[group, c] * sums[1]
        less, slope = dtype(total / size), dtype(product / size * deviation * deviation)
        if plane == 1:
            _differentiate(dz, x[r].reshape(-1), dx[r].reshape(-1), dtype(1), centre, less, slope, deviation)
        else:
            for c in range(channels):
                _differentiate(dy[r, c], x[r, c], dx[r, c], gamma[group, c], centre, less, slope, deviation)


@inlined
def _normalise(line, out, centre, factor, shift):
    for j in range(out.size):
        out[j] = (line[j] - centre) * at(factor, j) + at(shift, j)


@inlined
def _differentiate(gradient, line, out, factor, centre, less, slope, deviation):
    for j in range(out.size):
        out[j] = (gradient[j] * factor - less - (line[j] - centre) * slope) * deviation


@compiled
def _add(gradient, row, centre, deviation, dgamma, dbeta):
    for j in range(row.size):
        dbeta[j] += gradient[j]
        dgamma[j] += gradient[j] * ((row[j] - centre) * deviation)


@compiled
def _sum(line):
    total = 0.0
    for i in range(0, line.size, CHAIN):
        total += line_sum(line[i : i + CHAIN])
    return total


@compiled
def _square_sum(line, centre):
    total = 0.0
    for i in range(0, line.size, CHAIN):
        total += square_sum(line[i : i + CHAIN], centre)
    return total


@compiled
def _gradient_sums(gradient, line, centre):
    """The sum of gradients, and that of their products with the distances from the mean."""
    total, product = 0.0, 0.0
    for i in range(0, line.size, CHAIN):
        sums = gradient_sums(gradient[i : i + CHAIN], line[i : i + CHAIN], centre)
        total += sums[0]
        product += sums[1]
    return total, product
