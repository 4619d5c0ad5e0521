"""Calls seen before: what was right once is not checked again, and nothing that is only alike passes for it."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import kernels
from backstride.kernels import checks
from backstride.kernels.dispatch import Paths
from backstride.kernels.linear.geometry import LinearGeometry

X, W = np.ones((2, 4, 9, 8), np.float32), np.ones((6, 4, 3, 2), np.float32)
OPTIONS = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}


def test_a_call_seen_before_is_not_checked_again(monkeypatch):
    kernels.conv2d(X, W, **OPTIONS)
    monkeypatch.setattr(checks, "arrays", None)
    assert kernels.conv2d(X + 1, W, **OPTIONS).shape == (2, 6, 9, 9)
    with pytest.raises(TypeError, match="not callable"):
        kernels.conv2d(X + 1, W, **{**OPTIONS, "padding": 0})


TINY = np.array([1], np.int64).view(np.float64)[0]  # of the same bytes as an int of 1


@pytest.mark.parametrize(
    "options",
    [
        {"stride": True},
        {"stride": 1.0},
        {"stride": TINY},
        {"stride": np.int64(1).tobytes()},
        {"stride": (1, True)},
        {"padding": ((1, 1), [True, 1])},
        {"groups": np.bool_(True)},
    ],
    ids=str,
)
def test_no_option_that_is_alike_passes(options):
    for right in ({}, {"stride": np.int64(1)}, {"stride": (1, 1)}, {"padding": ((1, 1), [1, 1])}):
        kernels.conv2d(X, W, **{**OPTIONS, **right})
    for _ in range(2):
        with pytest.raises(ValueError, match="expected an int"):
            kernels.conv2d(X, W, **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("function", "right", "alike"),
    [
        (kernels.leaky_relu, {"negative_slope": 1}, {"negative_slope": True}),
        (kernels.gelu, {"approximate": "tanh"}, {"approximate": b"tanh"}),
        (kernels.batch_norm, {"eps": 1}, {"eps": True}),
        (kernels.batch_norm, {"layout": "NCHW"}, {"layout": b"NCHW"}),
        (kernels.group_norm, {"num_groups": 1}, {"num_groups": True}),
        (kernels.layer_norm, {"normalized_shape": (9, 8)}, {"normalized_shape": (9, 8.0)}),
    ],
)
def test_no_option_of_another_function_that_is_alike_passes(function, right, alike):
    for _ in range(2):
        function(X, **right)
        with pytest.raises(ValueError, match="expected"):
            function(X, **alike)


def test_norms_seen_before_differ_in_what_is_left_out():
    gamma, beta = np.full(4, 2, np.float32), np.zeros(4, np.float32)
    x = np.random.default_rng(0).standard_normal(X.shape, np.float32)
    for _ in range(2):
        plain, scaled, added = (
            kernels.batch_norm(x),
            kernels.batch_norm(x, gamma, beta),
            kernels.batch_norm(x, residual=x),
        )
        np.testing.assert_array_equal(scaled[0], 2 * plain[0])  # a power of 2: exact
        np.testing.assert_array_equal(added[0], plain[0] + x)
        with pytest.raises(ValueError, match="beta"):
            kernels.batch_norm(x, gamma)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (X.astype(np.float64), "float32|float64"),
        (X.astype(np.float32, order="F").astype(">f4"), "dtype"),
        (np.ma.masked_array(X), "MaskedArray"),
        (X.tolist(), "list"),
        (None, "NoneType"),
    ],
)
def test_no_array_that_is_alike_passes(x, error):
    kernels.conv2d(X, W, **OPTIONS)
    for _ in range(2):
        with pytest.raises(TypeError, match=error):
            kernels.conv2d(x, W, **OPTIONS)
        with pytest.raises(TypeError, match=error):
            kernels.conv2d(X, x, **OPTIONS)


def test_they_are_forgotten_before_they_are_many(monkeypatch):
    monkeypatch.setattr("backstride.kernels.dispatch._MOST_SEEN", 3)
    paths = Paths[object]("linear")
    for n in range(1, 9):
        paths.call("linear_bias_grad", _check, (np.ones((n, 2)),))
        assert 1 <= len(paths._seen) <= 3


def _check(dy):
    return dy, LinearGeometry.of_output("linear_bias_grad", 0, dy.shape)
