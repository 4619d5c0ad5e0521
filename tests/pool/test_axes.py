"""Pooling along one axis and three, and with channels last, against the reference; along two, test_pool2d says more."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_exact, dtype_of, integers
from gradcheck import assert_gradient

from backstride import kernels
from backstride.kernels.operation import Case
from backstride.kernels.pool import cases1d, cases3d, cases_nhwc


def with_dtypes(*cases: Case) -> list:
    """Each case in one dtype, in turn."""
    return [
        pytest.param(case, DTYPES[i % len(DTYPES)], id=f"{case}-{DTYPES[i % len(DTYPES)]}")
        for i, case in enumerate(cases)
    ]


def kernel(stem: str, case: Case, suffix: str = ""):
    return getattr(kernels, f"{stem}{len(case.x) - 2}d{suffix}")


def marked(taps: np.ndarray) -> np.ndarray:
    """Taps as int64 with -1 for the mark of an empty window, the largest value of their type."""
    return np.where(taps == np.iinfo(taps.dtype).max, -1, taps.astype(np.int64))


@pytest.mark.parametrize(("case", "dtype"), with_dtypes(*cases1d.MAX_POOL, *cases3d.MAX_POOL, *cases_nhwc.MAX_POOL))
@pytest.mark.parametrize("special", [False, True], ids=["integers", "ties, infinities, NaN"])
def test_max_pool(path, case, dtype, special, rng):
    x = rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, np.inf, -np.inf], case.x) if special else integers(rng, case.x)
    dtype = dtype_of(dtype)
    exact_y, exact_taps = reference.max_pool(x, **case.options)
    y, taps = path.run(kernel("max_pool", case), x.astype(dtype), **case.options)
    assert_exact(y, exact_y)
    np.testing.assert_array_equal(marked(taps), exact_taps)
    indices = path.run(kernel("max_pool", case, "_indices"), taps, case.x, **case.options)
    exact_indices = reference.max_pool_indices(exact_taps, case.x, **case.options)
    np.testing.assert_array_equal(indices, exact_indices, strict=True)
    dy = integers(rng, y.shape)
    dx = path.run(kernel("max_pool", case, "_grad"), dy.astype(dtype), taps, case.x, **case.options)
    assert_exact(dx, reference.max_pool_grad(dy, exact_taps, case.x, **case.options))


def assert_near(got: np.ndarray, exact: np.ndarray, dtype: np.dtype) -> None:
    """Integers of magnitude 8 were divided, added up by hundreds at most, and rounded once more in 16 bits."""
    eps = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype.name]
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=eps, atol=32 * min(eps, 2.0**-23))


@pytest.mark.parametrize(("case", "dtype"), with_dtypes(*cases1d.AVG_POOL, *cases3d.AVG_POOL, *cases_nhwc.AVG_POOL))
def test_avg_pool(path, case, dtype, rng):
    x, dtype = integers(rng, case.x), dtype_of(dtype)
    y = path.run(kernel("avg_pool", case), x.astype(dtype), **case.options)
    assert_near(y, reference.avg_pool(x, **case.options), dtype)
    dy = integers(rng, y.shape)
    dx = path.run(kernel("avg_pool", case, "_grad"), dy.astype(dtype), case.x, **case.options)
    assert_near(dx, reference.avg_pool_grad(dy, case.x, **case.options), dtype)


@pytest.mark.parametrize(
    ("case", "dtype"), with_dtypes(*cases1d.ADAPTIVE_POOL, *cases3d.ADAPTIVE_POOL, *cases_nhwc.ADAPTIVE_POOL)
)
def test_adaptive_avg_pool(path, case, dtype, rng):
    x, dtype = integers(rng, case.x), dtype_of(dtype)
    y = path.run(kernel("adaptive_avg_pool", case), x.astype(dtype), **case.options)
    assert_near(y, reference.adaptive_avg_pool(x, **case.options), dtype)
    dy = integers(rng, y.shape)
    layout = {"layout": case.options.get("layout", "NCHW")}
    dx = path.run(kernel("adaptive_avg_pool", case, "_grad"), dy.astype(dtype), case.x, **layout)
    assert_near(dx, reference.adaptive_avg_pool_grad(dy, case.x, **layout), dtype)


@pytest.mark.parametrize(
    "case", [c for c in (*cases1d.AVG_POOL, *cases3d.AVG_POOL, *cases_nhwc.AVG_POOL) if 0 not in c.x], ids=str
)
def test_gradients_predict_differences(case, rng):
    x = rng.permutation(np.prod(case.x)).reshape(case.x).astype(np.float64)  # no ties: a maximum stays where it is
    dy = rng.standard_normal(reference.avg_pool(x, **case.options).shape)
    pool, gradient = kernel("avg_pool", case), kernel("avg_pool", case, "_grad")
    assert_gradient(lambda x: pool(x, **case.options), x, dy, gradient(dy, case.x, **case.options), rng)
    if case in cases1d.MAX_POOL + cases3d.MAX_POOL + cases_nhwc.MAX_POOL:
        pool = kernel("max_pool", case)
        _, taps = pool(x, **case.options)
        dx = kernel("max_pool", case, "_grad")(dy, taps, case.x, **case.options)
        assert_gradient(lambda x: pool(x, **case.options)[0], x, dy, dx, rng)
