"""Adaptive average pooling and its gradient against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, dtype_of, normal
from gradcheck import assert_gradient

from backstride import kernels
from backstride.kernels.pool.cases import ADAPTIVE_POOL
from backstride.layers import AdaptiveAvgPool2d


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ADAPTIVE_POOL, ids=str)
def test_forward_and_gradient(path, case, dtype, rng):
    x = normal(rng, case.x, dtype)
    y = path.run(kernels.adaptive_avg_pool2d, x.astype(dtype_of(dtype)), **case.options)
    exact = reference.adaptive_avg_pool2d(x, **case.options)
    assert y.shape == exact.shape
    (h, w), (p, q) = case.x[2:], exact.shape[2:]
    window, windows = (h // p + 2) * (w // q + 2), (p // h + 2) * (q // w + 2)  # at most
    assert_accurate(y, exact, reference.adaptive_avg_pool2d(np.abs(x), **case.options), window)

    dy = normal(rng, exact.shape, dtype)
    dx = path.run(kernels.adaptive_avg_pool2d_grad, dy.astype(dtype_of(dtype)), case.x)
    exact = reference.adaptive_avg_pool2d_grad(dy, case.x)
    assert_accurate(dx, exact, reference.adaptive_avg_pool2d_grad(np.abs(dy), case.x), windows)


@pytest.mark.parametrize("case", [c for c in ADAPTIVE_POOL if 0 not in c.x], ids=str)
def test_the_gradient_predicts_differences(path, case, rng):
    x = rng.standard_normal(case.x)
    dy = rng.standard_normal(reference.adaptive_avg_pool2d(x, **case.options).shape)
    dx = path.run(kernels.adaptive_avg_pool2d_grad, dy, case.x)
    assert_gradient(lambda x: path.run(kernels.adaptive_avg_pool2d, x, **case.options), x, dy, dx, rng)


def test_what_no_window_covers_does_not_leak(path):
    x = np.arange(35, dtype=np.float32).reshape(1, 1, 5, 7)
    x[0, 0, 4, 6], x[0, 0, 0, 0] = np.inf, np.nan
    y = path.run(kernels.adaptive_avg_pool2d, x, (2, 3))
    np.testing.assert_array_equal(np.isfinite(y[0, 0]), [[False, True, True], [True, True, False]])
    dy = np.ones((1, 1, 2, 3), np.float32)
    dy[0, 0, 1, 2] = np.inf
    dx = path.run(kernels.adaptive_avg_pool2d_grad, dy, x.shape)
    assert np.isinf(dx[0, 0, 2:, 4:]).all()
    assert np.isfinite(dx[0, 0, :2]).all()
    assert np.isfinite(dx[0, 0, :, :4]).all()


def test_one_window_is_average_pooling_of_the_plane(path, rng):
    x = rng.integers(-8, 9, (2, 3, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        path.run(kernels.adaptive_avg_pool2d, x, 1), path.run(kernels.avg_pool2d, x, (6, 5)), strict=True
    )


@pytest.mark.parametrize(
    ("x", "output_size", "message"),
    [
        (np.zeros((2, 3, 4)), 1, r"x.shape is \(2, 3, 4\); expected four axes \(N, C, H, W\)"),
        (np.zeros((2, 3, 0, 4)), 1, "x.shape extent H is 0; expected at least 1"),
        (np.zeros((2, 3, 4, 4)), 0, "output_size is 0; expected an int >= 1"),
        (np.zeros((2, 3, 4, 4)), (1, 2, 3), r"output_size is \(1, 2, 3\); expected an int or an \(h, w\) pair"),
    ],
)
def test_bad_input(x, output_size, message):
    with pytest.raises(ValueError, match=f"^adaptive_avg_pool2d: {message}$"):
        kernels.adaptive_avg_pool2d(x, output_size)


def test_a_gradient_of_another_shape():
    with pytest.raises(ValueError, match=r"^adaptive_avg_pool2d_grad: dy.shape is \(2, 4, 1, 1\); expected"):
        kernels.adaptive_avg_pool2d_grad(np.zeros((2, 4, 1, 1)), (2, 3, 4, 4))


def test_layer(rng):
    layer = AdaptiveAvgPool2d((2, 3))
    x = rng.standard_normal((2, 3, 5, 7))
    y = layer(x)
    np.testing.assert_array_equal(y, kernels.adaptive_avg_pool2d(x, (2, 3)))
    np.testing.assert_array_equal(layer.backward(y), kernels.adaptive_avg_pool2d_grad(y, x.shape))
    assert repr(layer) == "AdaptiveAvgPool2d((2, 3))"
    with pytest.raises(ValueError, match=r"^AdaptiveAvgPool2d: output_size is 'all'; expected"):
        AdaptiveAvgPool2d("all")


@pytest.mark.torch
@pytest.mark.parametrize("case", [c for c in ADAPTIVE_POOL if 0 not in c.x], ids=str)
def test_as_pytorch(case, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(case.x)
    t = torch.from_numpy(x).requires_grad_()
    y = torch.nn.functional.adaptive_avg_pool2d(t, case.options["output_size"])
    dy = rng.standard_normal(y.shape)
    y.backward(torch.from_numpy(dy))
    # both round sums of at most 131 x 5 terms in float64
    np.testing.assert_allclose(kernels.adaptive_avg_pool2d(x, **case.options), y.detach().numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(kernels.adaptive_avg_pool2d_grad(dy, case.x), t.grad.numpy(), rtol=0, atol=1e-13)
