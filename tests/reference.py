"""What every operation means, in float64, written from the definition: plain loops, nothing shared with the package.

Convolution, pooling and linear are conformance/definitions.py, which courses grade by; the other operations are here.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from fractions import Fraction

import numpy as np

from backstride.conformance.definitions import *  # noqa: F403


def __getattr__(name):
    """conv2d_grads, say, is conv_grads: the definitions are for every rank."""
    try:
        return globals()[re.sub(r"[123]d(?=_|$)", "", name)]
    except KeyError:
        raise AttributeError(name) from None


def _finished(z, residual, activation):
    z = z if residual is None else z + residual
    return np.maximum(z, 0) if activation == "relu" else z


def _activated(definition):
    """A definition of an operation that may end with an activation."""

    @functools.wraps(definition)
    def defined(*arguments, activation=None, **options):
        return _finished(definition(*arguments, **options), None, activation)

    return defined


conv, linear = map(_activated, (conv, linear))  # noqa: F405


def _of_images(parameter, x):
    """One number for each channel, beside the elements of x."""
    return np.asarray(parameter, np.float64).reshape(-1, *[1] * (x.ndim - 2))


def _moments(values):
    values = np.asarray(values, np.float64).ravel()
    if values.size == 0:
        return 0.0, 0.0
    mean = math.fsum(values) / values.size
    return mean, math.fsum((values - mean) ** 2) / values.size


def in_either_layout(definition):
    """A definition of arrays (N, C, *X), also of those that `layout` says to be (N, *X, C)."""

    @functools.wraps(definition)
    def defined(*arguments, layout="NCHW", **options):
        if layout == "NCHW":
            return definition(*arguments, **options)
        given = [_moved(a, -1, 1) for a in arguments]
        found = definition(*given, **{name: _moved(a, -1, 1) for name, a in options.items()})
        return tuple(_moved(a, 1, -1) for a in found) if isinstance(found, tuple) else _moved(found, 1, -1)

    return defined


def _moved(a, source, destination):
    """Parameters and statistics have one axis."""
    return np.moveaxis(a, source, destination) if isinstance(a, np.ndarray) and a.ndim > 1 else a


@in_either_layout
def batch_norm(x, gamma=None, beta=None, *, eps=1e-5, activation=None, residual=None):
    mean, var = np.array([_moments(x[:, c]) for c in range(x.shape[1])]).reshape(-1, 2).T
    y = batch_norm_inference(x, gamma, beta, mean, var, eps=eps, activation=activation, residual=residual)
    return y, mean, var


@in_either_layout
def batch_norm_inference(x, gamma, beta, mean, var, *, eps=1e-5, activation=None, residual=None):
    gamma, beta = np.ones_like(mean) if gamma is None else gamma, 0 * mean if beta is None else beta
    z = (x - _of_images(mean, x)) / np.sqrt(_of_images(var, x) + eps)
    return _finished(_of_images(gamma, x) * z + _of_images(beta, x), residual, activation)


@in_either_layout
def batch_norm_grads(dy, x, gamma, mean, var, **options):
    """Every element of a channel moves its mean and deviation, and so all others."""
    dz, z, scale, sums = _batch_norm_parts(dy, x, gamma, mean, var, **options)
    dx, count = np.zeros(x.shape), max(1, x.size // max(1, x.shape[1]))
    for c in range(x.shape[1]):
        of_mean, of_deviation = math.fsum(dz[:, c].ravel()) / count, math.fsum((dz * z)[:, c].ravel()) / count
        dx[:, c] = dz[:, c] - of_mean - z[:, c] * of_deviation
    found = dx * scale, *sums
    return (*found, dz) if options.get("residual") else found


@in_either_layout
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
