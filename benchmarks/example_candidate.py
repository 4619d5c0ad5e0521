"""A convolution of one's own, to be measured beside backstride's: a matrix product for each tap, on shifted views.

    backstride bench --op conv2d --suite resnet50 --quick --candidate backstride.benchmarks.example_candidate:conv2d

A candidate has the signature of its operation, gets arrays of the backend in force, and declines what it cannot do
with NotImplementedError.
"""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module


def conv2d(
    x: Any, w: Any, b: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    if groups != 1 or isinstance(padding, str) or min(x.shape) == 0:
        raise NotImplementedError("one group, padding in numbers, a batch that is not empty")
    xp = get_array_module(x)
    (step_h, step_w), (dilation_h, dilation_w) = _pair(stride), _pair(dilation)
    (top, bottom), (left, right) = (_pair(side) for side in _pair(padding))
    x = xp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    n, c, h, width = x.shape
    k, _, r, s = w.shape
    p, q = (h - dilation_h * (r - 1) - 1) // step_h + 1, (width - dilation_w * (s - 1) - 1) // step_w + 1
    y = xp.zeros((n, k, p * q), dtype=x.dtype)
    for i in range(r):
        for j in range(s):
            rows = slice(i * dilation_h, i * dilation_h + (p - 1) * step_h + 1, step_h)
            columns = slice(j * dilation_w, j * dilation_w + (q - 1) * step_w + 1, step_w)
            y += w[:, :, i, j] @ x[:, :, rows, columns].reshape(n, c, p * q)
    if b is not None:
        y += b.reshape(k, 1)
    return y.reshape(n, k, p, q)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value
