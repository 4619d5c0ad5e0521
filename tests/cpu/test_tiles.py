"""Windows side by side, as patches: their input gradient is a product, on the plain page."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_exact, dtype_of, integers

from backstride import kernels
from backstride.kernels.conv import cpu
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.cpu import tiles

CASES = {
    "whole": ((2, 3, 8, 12), (5, 3, 4, 3), 1, 0),
    "rest at the ends": ((2, 3, 11, 13), (5, 3, 4, 3), 1, 0),
    "groups": ((2, 6, 9, 8), (10, 3, 2, 4), 2, 0),
    "one row of windows": ((1, 2, 5, 23), (3, 2, 5, 1), 1, 0),
    "padding after": ((2, 2, 6, 7), (3, 2, 3, 3), 1, ((0, 1), (0, 1))),
    "line": ((2, 3, 23), (5, 3, 4), 1, 0),
    "volume": ((2, 3, 5, 7, 9), (4, 3, 2, 3, 4), 1, 0),
    "more filters than are summed at a time": ((1, 1, 4, 4), (1030, 1, 2, 2), 1, 0),
    "no image": ((0, 3, 8, 12), (5, 3, 4, 3), 1, 0),
    "no channel": ((2, 0, 8, 12), (5, 0, 4, 3), 1, 0),
}


@pytest.fixture
def used(monkeypatch):
    """How often the product was made."""
    calls, input_grad = [], tiles.input_grad
    monkeypatch.setattr(tiles, "input_grad", lambda *a: (calls.append(1), input_grad(*a)))
    return calls


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_input_gradient_and_transposed_convolution(name, dtype, rng, used):
    x, w, groups, padding = CASES[name]
    rank, options = len(x) - 2, {"stride": w[2:], "padding": padding, "groups": groups}
    g = ConvGeometry.of("conv", x, w, rank=rank, dilation=1, **options)
    weights, dy, b = (integers(rng, shape) for shape in (w, g.y_shape, (x[1],)))
    moved = [a.astype(dtype_of(dtype)) for a in (dy, weights, b)]
    exact = reference.conv_input_grad(dy, weights, x, **options)
    assert_exact(cpu.conv_input_grad(*moved[:2], g), exact)
    with_bias = exact + b.reshape(-1, *(1 for _ in x[2:]))
    assert_exact(cpu.conv_transpose(*moved, g), with_bias)
    assert len(used) == 2


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 3, 8, 8), (5, 3, 4, 4), {"stride": 3}),
        ((2, 3, 9, 9), (5, 3, 4, 4), {"stride": 5}),
        ((2, 3, 8, 8), (5, 3, 2, 2), {"stride": 2, "padding": ((1, 0), (0, 0))}),
        ((2, 3, 8, 8), (5, 3, 2, 2), {"stride": 2, "dilation": 2}),
        ((2, 3, 7, 8), (5, 3, 2, 2), {"stride": 2, "padding": ((0, 1), (0, 0))}),
        ((2, 5, 8, 8), (5, 1, 2, 2), {"stride": 2, "groups": 5}),
        ((2, 3, 8, 8), (5, 3, 1, 1), {}),
    ],
)
def test_other_windows_are_none(x, w, options, rng, used):
    dy = integers(rng, kernels.conv2d(np.zeros(x), np.zeros(w), **options).shape)
    weights = integers(rng, w)
    assert_exact(
        kernels.conv2d_input_grad(dy, weights, x, **options), reference.conv2d_input_grad(dy, weights, x, **options)
    )
    assert not used


def test_the_same_bits_whatever_the_threads(rng):
    """Pieces are cut by shape alone."""
    dy, w = (rng.standard_normal(shape, np.float32) for shape in ((4, 96, 14, 14), (96, 3, 16, 16)))
    results = {kernels.conv2d_input_grad(dy, w, (4, 3, 224, 224), stride=16).tobytes() for _ in range(3)}
    assert len(results) == 1
