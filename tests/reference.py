"""What every operation means, in float64, written from the definition: plain loops, nothing shared with the package.

A convolution or a pooling along any number of axes is a set of meetings: output position p meets input position h
through tap r where h = p*stride - before + r*dilation along every axis. Every function below is one loop over the
meetings, and the gradients are the same loop with the assignment read from the other side.
"""

from __future__ import annotations

import itertools
import math
import re
from fractions import Fraction

import numpy as np


def __getattr__(name):
    """conv2d_grads, say, is conv_grads: the definitions are for every rank."""
    try:
        return globals()[re.sub(r"[123]d(?=_|$)", "", name)]
    except KeyError:
        raise AttributeError(name) from None


def _per_axis(value, rank):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def _sides(padding, extents, window, stride, dilation):
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


def _count(extent, taps, step, spread, before, after, ceil_mode=False):
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


def _windows(extents, window, stride, padding, dilation, ceil_mode=False):
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


def _reached(tables, p):
    """Every (r, h), the taps of the window p that fall on the input and where, in row-major order."""
    for along in itertools.product(*(table[at] for table, at in zip(tables, p, strict=True))):
        yield tuple(zip(*along, strict=True))


def _meetings(extents, window, stride, padding, dilation):
    """Every (p, r, h) where output p meets input h through tap r, each an index along all axes."""
    size, tables = _windows(extents, window, stride, padding, dilation)
    for p in np.ndindex(size):
        for r, h in _reached(tables, p):
            yield p, r, h


def _by_group(array, axis, groups):
    """The array with its axis of channels split into (group, channel in the group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _plus_bias(y, b):
    return y if b is None else y + np.asarray(b, np.float64).reshape(1, -1, *(1 for _ in y.shape[2:]))


def conv(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    extents, window = x.shape[2:], w.shape[2:]
    size, _ = _windows(extents, window, stride, padding, dilation)
    x, w = _by_group(x, 1, groups), _by_group(w, 0, groups)
    y = np.zeros((len(x), groups, w.shape[1], *size))
    for p, r, h in _meetings(extents, window, stride, padding, dilation):
        y[(..., *p)] += np.einsum("ngc,gkc->ngk", x[(..., *h)], w[(..., *r)])
    return _plus_bias(y.reshape(len(x), groups * w.shape[1], *size), b)


def conv_input_grad(dy, w, x_shape, *, stride=1, padding=0, dilation=1, groups=1):
    dy, w = _by_group(np.asarray(dy, np.float64), 1, groups), _by_group(np.asarray(w, np.float64), 0, groups)
    dx = _by_group(np.zeros(x_shape), 1, groups)
    for p, r, h in _meetings(x_shape[2:], w.shape[3:], stride, padding, dilation):
        dx[(..., *h)] += np.einsum("ngk,gkc->ngc", dy[(..., *p)], w[(..., *r)])
    return dx.reshape(x_shape)


def conv_weight_grad(dy, x, w_shape, *, stride=1, padding=0, dilation=1, groups=1):
    extents = x.shape[2:]
    dy, x = _by_group(np.asarray(dy, np.float64), 1, groups), _by_group(np.asarray(x, np.float64), 1, groups)
    dw = _by_group(np.zeros(w_shape), 0, groups)
    for p, r, h in _meetings(extents, w_shape[2:], stride, padding, dilation):
        dw[(..., *r)] += np.einsum("ngk,ngc->gkc", dy[(..., *p)], x[(..., *h)])
    return dw.reshape(w_shape)


def conv_bias_grad(dy):
    dy = np.asarray(dy, np.float64)
    db = [math.fsum(dy[:, k].ravel()) for k in range(dy.shape[1])]
    return np.array(db).reshape(-1, *(1 for _ in dy.shape[2:]))


def conv_transpose(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
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
    canvas = np.zeros((len(x), groups, w.shape[2], *size))
    for p in np.ndindex(extents):
        for r in np.ndindex(window):
            at = (i * step + tap * spread for i, step, tap, spread in zip(p, stride, r, dilation, strict=True))
            canvas[(..., *at)] += np.einsum("ngc,gck->ngk", x[(..., *p)], w[(..., *r)])
    canvas = canvas.reshape(len(x), groups * w.shape[2], *size)
    inside = (slice(before, extent - after) for (before, after), extent in zip(sides, size, strict=True))
    return _plus_bias(canvas[(..., *inside)], b)


def max_pool(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(y, taps): the first greatest tap of each window, or its last NaN; -inf and tap -1 where it is all padding."""
    x = np.asarray(x, np.float64)
    window = _per_axis(kernel_size, x.ndim - 2)
    size, tables = _windows(x.shape[2:], window, window if stride is None else stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *size), -np.inf)
    taps = np.full(y.shape, -1)
    for n, c, *p in np.ndindex(y.shape):
        at = (n, c, *p)
        for r, h in _reached(tables, p):
            value = x[(n, c, *h)]
            if taps[at] == -1 or math.isnan(value) or value > y[at]:
                y[at], taps[at] = value, np.ravel_multi_index(r, window)
    return y, taps


def max_pool_indices(taps, x_shape, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False):
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


def max_pool_grad(dy, taps, x_shape, kernel_size, **options):
    dy, dx = np.asarray(dy, np.float64), np.zeros((*x_shape[:2], math.prod(x_shape[2:])))
    indices = max_pool_indices(taps, x_shape, kernel_size, **options)
    for n, c, *p in np.ndindex(dy.shape):
        if indices[(n, c, *p)] >= 0:
            dx[n, c, indices[(n, c, *p)]] += dy[(n, c, *p)]
    return dx.reshape(x_shape)


def _shares(x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
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


def avg_pool(x, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    x = np.asarray(x, np.float64)
    window = _per_axis(kernel_size, x.ndim - 2)
    size, _ = _windows(x.shape[2:], window, window if stride is None else stride, padding, 1, ceil_mode)
    y = np.zeros((*x.shape[:2], *size))
    shares = _shares(x.shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    for p, positions, divisor in shares:
        for h in positions:
            y[(..., *p)] += x[(..., *h)] / divisor
    return y


def avg_pool_grad(
    dy, x_shape, kernel_size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    dy, dx = np.asarray(dy, np.float64), np.zeros(x_shape)
    shares = _shares(x_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    for p, positions, divisor in shares:
        for h in positions:
            dx[(..., *h)] += dy[(..., *p)] / divisor
    return dx


def _adaptive_windows(extents, output_size):
    """Every window's index with the input positions under it."""
    counts = _per_axis(output_size, len(extents))
    for p in np.ndindex(counts):
        under = (
            range(math.floor(i * extent / count), math.ceil((i + 1) * extent / count))
            for i, extent, count in zip(p, extents, counts, strict=True)
        )
        yield p, list(itertools.product(*under))


def adaptive_avg_pool(x, output_size):
    y = np.zeros((*x.shape[:2], *_per_axis(output_size, x.ndim - 2)))
    for p, positions in _adaptive_windows(x.shape[2:], output_size):
        for h in positions:
            y[(..., *p)] += x[(..., *h)] / len(positions)
    return y


def adaptive_avg_pool_grad(dy, x_shape):
    dx = np.zeros(x_shape)
    for p, positions in _adaptive_windows(x_shape[2:], dy.shape[2:]):
        for h in positions:
            dx[(..., *h)] += dy[(..., *p)] / len(positions)
    return dx


def linear(x, w, b=None, *, batch_axis=0):
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    samples = x if batch_axis == 0 else x.T
    bias = np.zeros(len(w)) if b is None else np.asarray(b, np.float64).ravel()
    y = np.array([[row @ sample + offset for row, offset in zip(w, bias, strict=True)] for sample in samples])
    y = y.reshape(len(samples), len(w))
    return y if batch_axis == 0 else y.T


def linear_input_grad(dy, w, *, batch_axis=0):
    dy, w = np.asarray(dy, np.float64), np.asarray(w, np.float64)
    return linear(dy, w.T, batch_axis=batch_axis)


def linear_weight_grad(dy, x, *, batch_axis=0):
    dy, x = np.asarray(dy, np.float64), np.asarray(x, np.float64)
    if batch_axis == 1:
        dy, x = dy.T, x.T
    dw = np.zeros((dy.shape[1], x.shape[1]))
    for one_dy, one_x in zip(dy, x, strict=True):
        dw += np.outer(one_dy, one_x)
    return dw


def linear_bias_grad(dy, *, batch_axis=0):
    dy = np.asarray(dy, np.float64)
    if batch_axis == 1:
        return np.array([[math.fsum(row)] for row in dy]).reshape(len(dy), 1)
    return np.array([math.fsum(column) for column in dy.T])


def _finished(z, residual, activation):
    z = z if residual is None else z + residual
    return np.maximum(z, 0) if activation == "relu" else z


def _of_images(parameter, x):
    """One number for each channel, beside the elements of x."""
    return np.asarray(parameter, np.float64).reshape(-1, *[1] * (x.ndim - 2))


def _moments(values):
    values = np.asarray(values, np.float64).ravel()
    if values.size == 0:
        return 0.0, 0.0
    mean = math.fsum(values) / values.size
    return mean, math.fsum((values - mean) ** 2) / values.size


def batch_norm(x, gamma=None, beta=None, *, eps=1e-5, activation=None, residual=None):
    mean, var = np.array([_moments(x[:, c]) for c in range(x.shape[1])]).reshape(-1, 2).T
    y = batch_norm_inference(x, gamma, beta, mean, var, eps=eps, activation=activation, residual=residual)
    return y, mean, var


def batch_norm_inference(x, gamma, beta, mean, var, *, eps=1e-5, activation=None, residual=None):
    gamma, beta = np.ones_like(mean) if gamma is None else gamma, 0 * mean if beta is None else beta
    z = (x - _of_images(mean, x)) / np.sqrt(_of_images(var, x) + eps)
    return _finished(_of_images(gamma, x) * z + _of_images(beta, x), residual, activation)


def batch_norm_grads(dy, x, gamma, mean, var, **options):
    """Every element of a channel moves its mean and deviation, and so all others."""
    dz, z, scale, sums = _batch_norm_parts(dy, x, gamma, mean, var, **options)
    dx, count = np.zeros(x.shape), max(1, x.size // max(1, x.shape[1]))
    for c in range(x.shape[1]):
        of_mean, of_deviation = math.fsum(dz[:, c].ravel()) / count, math.fsum((dz * z)[:, c].ravel()) / count
        dx[:, c] = dz[:, c] - of_mean - z[:, c] * of_deviation
    found = dx * scale, *sums
    return (*found, dz) if options.get("residual") else found


def batch_norm_inference_grads(dy, x, gamma, mean, var, **options):
    dz, _, scale, sums = _batch_norm_parts(dy, x, gamma, mean, var, **options)
    found = dz * scale, *sums
    return (*found, dz) if options.get("residual") else found


def _batch_norm_parts(dy, x, gamma, mean, var, *, eps=1e-5, activation=None, residual=False, beta=None, y=None):
    gamma = np.ones_like(mean) if gamma is None else gamma
    dz = np.where(y > 0, dy, 0) if activation == "relu" else np.asarray(dy, np.float64)
    inverse = 1 / np.sqrt(_of_images(var, x) + eps)
    z = (x - _of_images(mean, x)) * inverse
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    return dz, z, _of_images(gamma, x) * inverse, ((dz * z).sum(others), dz.sum(others))


def _row_norm(x, rows, gamma, beta, eps):
    """rows: x as a row for each mean and variance; gamma and beta as long as x."""
    moments = np.array([_moments(row) for row in rows]).reshape(-1, 2)
    z = (rows - moments[:, :1]) / np.sqrt(moments[:, 1:] + eps)
    gamma, beta = np.ones(x.shape) if gamma is None else gamma, np.zeros(x.shape) if beta is None else beta
    return gamma * z.reshape(x.shape) + beta, *moments.T


def _row_norm_grads(dy, x, rows, gamma, mean, var, eps):
    """dx, and what dgamma and dbeta sum."""
    inverse = 1 / np.sqrt(np.ravel(var) + eps)
    z = (rows - np.ravel(mean)[:, np.newaxis]) * inverse[:, np.newaxis]
    arriving, dx = (dy * gamma).reshape(rows.shape), np.zeros(rows.shape)
    for i, (own, g) in enumerate(zip(z, arriving, strict=True)):
        dx[i] = inverse[i] * (g - math.fsum(g) / g.size - own * math.fsum(own * g) / g.size)
    return dx.reshape(x.shape), dy * z.reshape(x.shape)


def _per_channel(parameter, x):
    return None if parameter is None else np.broadcast_to(_of_images(parameter, x), x.shape)


def group_norm(x, num_groups, gamma=None, beta=None, *, eps=1e-5):
    rows = x.reshape(x.shape[0] * num_groups, math.prod(x.shape[1:]) // num_groups)
    y, mean, var = _row_norm(x, rows, _per_channel(gamma, x), _per_channel(beta, x), eps)
    return y, mean.reshape(x.shape[0], num_groups), var.reshape(x.shape[0], num_groups)


def group_norm_grads(dy, x, num_groups, gamma, mean, var, *, eps=1e-5):
    rows = x.reshape(x.shape[0] * num_groups, math.prod(x.shape[1:]) // num_groups)
    scale = 1 if gamma is None else _per_channel(gamma, x)
    dx, of_gamma = _row_norm_grads(dy, x, rows, scale, mean, var, eps)
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    return dx, of_gamma.sum(others), dy.sum(others)


def _last_axes(x, normalized_shape):
    last = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    return x.reshape(-1, math.prod(last)), x.shape[: x.ndim - len(last)]


def layer_norm(x, normalized_shape, gamma=None, beta=None, *, eps=1e-5):
    rows, leading = _last_axes(x, normalized_shape)
    y, mean, var = _row_norm(x, rows, gamma, beta, eps)
    return y, mean.reshape(leading), var.reshape(leading)


def layer_norm_grads(dy, x, normalized_shape, gamma, mean, var, *, eps=1e-5):
    rows, leading = _last_axes(x, normalized_shape)
    dx, of_gamma = _row_norm_grads(dy, x, rows, 1 if gamma is None else gamma, mean, var, eps)
    others = tuple(range(len(leading)))
    return dx, of_gamma.sum(others), dy.sum(others)


def relu(x):
    return np.array([max(v, 0.0) for v in x.flat]).reshape(x.shape)


def relu_grad(dy, y):
    return dy * (y > 0)


def relu6(x):
    return np.array([min(max(v, 0.0), 6.0) for v in x.flat]).reshape(x.shape)


def relu6_grad(dy, y):
    return dy * ((y > 0) & (y < 6))


def leaky_relu(x, *, negative_slope=0.01):
    return x * np.where(x > 0, 1, negative_slope)


def leaky_relu_grad(dy, y, *, negative_slope=0.01):
    return dy * np.where(y > 0, 1, negative_slope)


def sigmoid(x):
    return _each(lambda v: 1 / (1 + math.exp(-v)) if v > 0 else math.exp(v) / (1 + math.exp(v)), x)


def sigmoid_grad(dy, y):
    return dy * y * (1 - y)


def tanh(x):
    return _each(math.tanh, x)


def tanh_grad(dy, y):
    return dy * (1 - y) * (1 + y)


def silu(x):
    return x * sigmoid(x)


def silu_grad(dy, x):
    return dy * (sigmoid(x) + x * sigmoid(x) * sigmoid(-x))


def gelu(x, *, approximate="none"):
    return x * _gelu_factor(x, approximate)


def gelu_grad(dy, x, *, approximate="none"):
    if approximate == "tanh":
        slope = _each(lambda v: math.sqrt(2 / math.pi) * (1 + 0.134145 * v * v), x)
        bell = 2 * _gelu_factor(x, "tanh") * _gelu_factor(-x, "tanh") * slope
    else:
        bell = _each(lambda v: math.exp(-v * v / 2) / math.sqrt(2 * math.pi), x)
    return dy * (_gelu_factor(x, approximate) + x * bell)


def _gelu_factor(x, approximate):
    if approximate == "tanh":
        return sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return _each(lambda v: math.erfc(-v / math.sqrt(2)) / 2, x)


def hardswish(x):
    return x * relu6(x + 3) / 6


def hardswish_grad(dy, x):
    return dy * np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))


def _each(f, x):
    return np.array([f(v) for v in x.flat], np.float64).reshape(x.shape)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_grad(dy, y, axis=-1):
    """dx[k] = sum over j of dy[j] y[j] (1 where j is k, minus y[k])."""
    dy, y = np.moveaxis(dy, axis, -1), np.moveaxis(y, axis, -1)
    jacobian = y[..., :, None] * (np.eye(y.shape[-1]) - y[..., None, :])
    return np.moveaxis((dy[..., :, None] * jacobian).sum(-2), -1, axis)


def log_softmax(x, axis=-1):
    z = x - x.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def log_softmax_grad(dy, y, axis=-1):
    """dx[k] = sum over j of dy[j] (1 where j is k, minus the softmax of k)."""
    dy, p = np.moveaxis(dy, axis, -1), np.exp(np.moveaxis(y, axis, -1))
    jacobian = np.eye(p.shape[-1]) - p[..., None, :]
    return np.moveaxis((dy[..., :, None] * jacobian).sum(-2), -1, axis)


def cross_entropy(x, labels, *, weight=None, axis=1, label_smoothing=0.0, ignore_index=None):
    """Sample by sample."""
    rows, labels = np.moveaxis(x, axis, -1), np.asarray(labels)
    classes = rows.shape[-1]
    weights = np.ones(classes) if weight is None else weight
    loss, dx, divisor = 0.0, np.zeros(rows.shape), 0.0
    for at in np.ndindex(labels.shape):
        label = labels[at]
        if label == ignore_index:
            continue
        logs = log_softmax(rows[at])
        wanted = np.full(classes, label_smoothing / classes)
        wanted[label] += 1 - label_smoothing
        loss -= sum(wanted * weights * logs)
        dx[at] = np.exp(logs) * sum(wanted * weights) - wanted * weights
        divisor += weights[label]
    with np.errstate(all="ignore"):
        return np.array(loss) / divisor, np.moveaxis(dx / (divisor or 1), -1, axis)


def mse(x, target):
    loss = math.fsum((a - b) ** 2 for a, b in zip(x.flat, target.flat, strict=True))
    return np.array(loss / x.size if x.size else math.nan), 2 * (x - target) / max(1, x.size)


def bce_with_logits(x, target):
    loss = math.fsum(
        max(a, 0) - a * t + math.log1p(math.exp(-abs(a))) for a, t in zip(x.flat, target.flat, strict=True)
    )
    return np.array(loss / x.size if x.size else math.nan), (sigmoid(x) - target) / max(1, x.size)


def dropout(x, position, p, seed):
    """Element by element, each with a word of its own."""
    words = (philox([i // 4, *position], seed)[i % 4] for i in range(x.size))
    kept = np.array([word >= round(p * 2**32) for word in words], bool).reshape(x.shape)
    return np.where(kept, x / (1 - p if p < 1 else 1), 0)


def philox(counter, seed):
    """Figure 4 of Salmon et al. 2011: ten rounds of two products, whose halves change places."""
    left_high, left_low, right_high, right_low = (int(counter[i]) for i in (1, 0, 3, 2))
    low_key, high_key = seed % 2**32, seed // 2**32
    for number in range(10):
        left, right = left_low * 0xD2511F53, right_low * 0xCD9E8D57
        keys = ((low_key + number * 0x9E3779B9) % 2**32, (high_key + number * 0xBB67AE85) % 2**32)
        left_low, right_low = right // 2**32 ^ left_high ^ keys[0], left // 2**32 ^ right_high ^ keys[1]
        left_high, right_high = right % 2**32, left % 2**32
    return [left_low, left_high, right_low, right_high]


def upsample(x, size, mode="nearest", align_corners=False):
    y = np.zeros((*x.shape[:2], *(size if isinstance(size, tuple) else (size, size))))
    for (p, q), (h, w), share in _resized(x.shape[2:], y.shape[2:], mode, align_corners):
        y[:, :, p, q] += share * x[:, :, h, w]
    return y


def upsample_grad(dy, x_shape, mode="nearest", align_corners=False):
    dx = np.zeros(x_shape)
    for (p, q), (h, w), share in _resized(x_shape[2:], dy.shape[2:], mode, align_corners):
        dx[:, :, h, w] += share * dy[:, :, p, q]
    return dx


def _resized(extents, sizes, mode, align_corners):
    """(p, q), (h, w) and the share that the second has in the first, where it has one."""
    along = [
        [(p, i, share) for p in range(size) for i, share in _sources(p, extent, size, mode, align_corners)]
        for extent, size in zip(extents, sizes, strict=True)
    ]
    for (p, h, of_row), (q, w, of_column) in itertools.product(*along):
        yield (p, q), (h, w), of_row * of_column


def _sources(p, extent, size, mode, align_corners):
    if mode == "nearest":
        return [(p * extent // size, 1.0)]
    if align_corners:
        at = Fraction(p * (extent - 1), size - 1) if size > 1 else Fraction(0)
    else:
        at = max(Fraction(0), (p + Fraction(1, 2)) * extent / size - Fraction(1, 2))
    first = min(math.floor(at), extent - 1)
    second = min(first + 1, extent - 1)
    part = at - first
    return [(i, float(share)) for i, share in ((first, 1 - part), (second, part)) if share]
