"""Max and average pooling and their gradients against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, assert_exact, dtype_of, integers, normal
from gradcheck import assert_gradient

from backstride import kernels
from backstride.kernels.operation import Case
from backstride.kernels.pool.cases import AVG_POOL, MAX_POOL


def marked(taps: np.ndarray) -> np.ndarray:
    """Taps as int64 with -1 for the mark of an empty window, the largest value of their type."""
    taps = np.asarray(taps)
    return np.where(taps == np.iinfo(taps.dtype).max, -1, taps.astype(np.int64))


def tap_dtype(case: Case) -> np.dtype:
    r, s = np.broadcast_to(case.options["kernel_size"], 2)
    return np.dtype(np.uint8 if r * s < 256 else np.uint16 if r * s < 65536 else np.int32)


def check_max_pool(path, case: Case, x: np.ndarray, dtype: np.dtype, rng: np.random.Generator) -> None:
    """Value, tap, index and gradient of max pooling x are the reference's, exactly (the gradient for integer dy)."""
    exact_y, exact_taps = reference.max_pool2d(x, **case.options)
    y, taps = path.run(kernels.max_pool2d, x.astype(dtype), **case.options)
    assert (y.dtype, taps.dtype) == (dtype, tap_dtype(case))
    assert_exact(y, exact_y)
    np.testing.assert_array_equal(marked(taps), exact_taps)

    indices = path.run(kernels.max_pool2d_indices, taps, case.x, **case.options)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(
        indices, reference.max_pool2d_indices(exact_taps, case.x, **case.options), strict=True
    )

    dy = integers(rng, y.shape)
    dx = path.run(kernels.max_pool2d_grad, dy.astype(dtype), taps, case.x, **case.options)
    assert dx.dtype == dtype
    assert_exact(dx, reference.max_pool2d_grad(dy, exact_taps, case.x, **case.options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool(path, case, dtype, rng):
    check_max_pool(path, case, normal(rng, case.x, dtype), dtype_of(dtype), rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool_of_ties_nans_infinities_and_signed_zeros(path, case, dtype, rng):
    x = rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, np.inf, -np.inf], case.x, p=[0.3, 0.2, 0.2, 0.1, 0.05, 0.05, 0.1])
    check_max_pool(path, case, x, dtype_of(dtype), rng)


@pytest.mark.parametrize("constant", [0.0, -np.inf, np.nan, np.inf, -65504.0])
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool_of_a_constant(path, case, constant, rng):
    check_max_pool(path, case, np.full(case.x, constant), np.dtype(np.float16), rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool_gradient_accuracy(path, case, dtype, rng):
    x = normal(rng, case.x, dtype)
    y, taps = path.run(kernels.max_pool2d, x.astype(dtype_of(dtype)), **case.options)
    dy = normal(rng, y.shape, dtype)
    dx = path.run(kernels.max_pool2d_grad, dy.astype(dtype_of(dtype)), taps, case.x, **case.options)
    exact, magnitude = (reference.max_pool2d_grad(d, marked(taps), case.x, **case.options) for d in (dy, np.abs(dy)))
    window = np.broadcast_to(case.options["kernel_size"], 2)
    assert_accurate(dx, exact, magnitude, int(np.prod(window)))


@pytest.mark.parametrize("case", [c for c in MAX_POOL if 0 not in c.x], ids=str)
def test_max_pool_gradient_predicts_differences(path, case, rng):
    """On a permutation of integers no maximum changes hands within a step of 1/4."""
    x = rng.permutation(float(np.prod(case.x)) - np.arange(np.prod(case.x))).reshape(case.x)
    y, taps = path.run(kernels.max_pool2d, x, **case.options)
    reached = np.isfinite(y)
    dy = np.where(reached, rng.standard_normal(y.shape), 0.0)
    dx = path.run(kernels.max_pool2d_grad, dy, taps, case.x, **case.options)

    def forward(x):
        return np.where(reached, path.run(kernels.max_pool2d, x, **case.options)[0], 0.0)

    assert_gradient(forward, x, dy, dx, rng)


def test_first_tie_wins(path):
    x = np.array([[[[1.0, 3, 3], [3, 2, 3], [3, 3, 3]]]])
    _, taps = path.run(kernels.max_pool2d, x, 3)
    assert taps.item() == 1


def test_last_nan_wins(path):
    nan = np.nan
    x = np.array([[[[nan, 1.0], [np.inf, nan]]]])
    y, taps = path.run(kernels.max_pool2d, x, 2)
    assert np.isnan(y.item())
    assert taps.item() == 3
    dx = path.run(kernels.max_pool2d_grad, np.array([[[[5.0]]]]), taps, x.shape, 2)
    np.testing.assert_array_equal(dx, [[[[0, 0], [0, 5]]]])


def test_negative_zero_ties_with_zero(path):
    x = np.array([[[[-0.0, 0.0]]]], np.float32)
    y, taps = path.run(kernels.max_pool2d, x, (1, 2))
    assert taps.item() == 0
    assert np.signbit(y.item())


def test_padding_never_wins(path):
    x = np.full((1, 1, 2, 2), -np.inf)
    y, taps = path.run(kernels.max_pool2d, x, 2, stride=1, padding=1)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(taps[0, 0], [[3, 2, 2], [1, 0, 0], [1, 0, 0]])


def test_window_in_padding(path):
    """A 2x2 window of dilation 2 around one pixel has no tap on it: -inf, the mark, index -1 and no gradient."""
    options = {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2}
    y, taps = path.run(kernels.max_pool2d, np.ones((1, 1, 1, 1), np.float32), **options)
    assert y.item() == -np.inf
    assert (taps.dtype, taps.item()) == (np.uint8, 255)
    assert path.run(kernels.max_pool2d_indices, taps, (1, 1, 1, 1), **options).item() == -1
    assert path.run(kernels.max_pool2d_grad, np.ones((1, 1, 1, 1)), taps, (1, 1, 1, 1), **options).item() == 0


@pytest.mark.parametrize(
    ("window", "dtype"),
    [((5, 51), np.uint8), ((16, 16), np.uint16), ((255, 257), np.uint16), ((256, 256), np.int32)],
)
def test_tap_dtype_is_the_smallest_with_room_for_the_mark(path, window, dtype):
    x = np.zeros((1, 1, *window), np.float32)
    x[0, 0, -1, -1] = 1
    _, taps = path.run(kernels.max_pool2d, x, window)
    assert taps.dtype == dtype
    assert taps.item() == window[0] * window[1] - 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", AVG_POOL, ids=str)
def test_avg_pool(path, case, dtype, rng):
    x = normal(rng, case.x, dtype)
    y = path.run(kernels.avg_pool2d, x.astype(dtype_of(dtype)), **case.options)
    assert y.dtype == dtype_of(dtype)
    absolute = {**case.options}
    if "divisor_override" in absolute:
        absolute["divisor_override"] = abs(absolute["divisor_override"])
    taps = int(np.prod(np.broadcast_to(case.options["kernel_size"], 2)))
    assert_accurate(y, reference.avg_pool2d(x, **case.options), reference.avg_pool2d(np.abs(x), **absolute), taps)

    dy = normal(rng, y.shape, dtype)
    dx = path.run(kernels.avg_pool2d_grad, dy.astype(dtype_of(dtype)), case.x, **case.options)
    assert dx.dtype == dtype_of(dtype)
    exact = reference.avg_pool2d_grad(dy, case.x, **case.options)
    assert_accurate(dx, exact, reference.avg_pool2d_grad(np.abs(dy), case.x, **absolute), taps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_avg_pool_of_integers_is_exact(path, dtype, rng):
    """With a divisor of 4 every quotient is exact."""
    case = Case("exact", (3, 5, 9, 10), options={"kernel_size": 2, "stride": (1, 2)})
    x = integers(rng, case.x)
    y = path.run(kernels.avg_pool2d, x.astype(dtype_of(dtype)), **case.options)
    assert_exact(y, reference.avg_pool2d(x, **case.options))
    dy = integers(rng, y.shape)
    dx = path.run(kernels.avg_pool2d_grad, dy.astype(dtype_of(dtype)), case.x, **case.options)
    assert_exact(dx, reference.avg_pool2d_grad(dy, case.x, **case.options))


@pytest.mark.parametrize("case", [c for c in AVG_POOL if 0 not in c.x], ids=str)
def test_avg_pool_gradient_predicts_differences(path, case, rng):
    x = rng.standard_normal(case.x)
    dy = rng.standard_normal(path.run(kernels.avg_pool2d, x, **case.options).shape)
    dx = path.run(kernels.avg_pool2d_grad, dy, case.x, **case.options)
    assert_gradient(lambda x: path.run(kernels.avg_pool2d, x, **case.options), x, dy, dx, rng)


def test_overhang_past_the_padding_does_not_count(path):
    """5 wide, window 2, stride 2, ceil_mode: the last window holds one element and divides by 1."""
    x = np.full((1, 1, 2, 5), 3.0)
    y = path.run(kernels.avg_pool2d, x, 2, ceil_mode=True)
    np.testing.assert_array_equal(y, np.full((1, 1, 1, 3), 3.0))


def test_non_finite_elements_reach_exactly_their_windows(path):
    x = np.ones((1, 2, 4, 6), np.float32)
    x[0, 0, 1, 1], x[0, 1, 2, 5] = np.nan, np.inf
    y = path.run(kernels.avg_pool2d, x, 2)
    expected = np.ones((1, 2, 2, 3), np.float32)
    expected[0, 0, 0, 0], expected[0, 1, 1, 2] = np.nan, np.inf
    np.testing.assert_array_equal(y, expected)
