"""Compiled loops of pooling: which of them a call runs does not show in the bits of its result.

The awkward shapes, of which the accuracy is tested (test_pool2d.py, test_axes.py), are so small that most are pooled
window by window; large calls run on layouts, or by pairs of columns.
"""

from __future__ import annotations

import numpy as np
import pytest

from backstride import jit
from backstride.kernels import OPERATIONS
from backstride.kernels.layout import by_channels_first
from backstride.kernels.operation import Case, geometry_of
from backstride.kernels.peers import padded, slices, unpadded
from backstride.kernels.pool.geometry import PoolGeometry

if jit.missing() is not None:
    pytest.skip("Numba is not installed", allow_module_level=True)

from backstride.kernels.pool import jit as path

DTYPES = ("float32", "float64")
MAX_POOL, AVG_POOL = (OPERATIONS[name].family.cases for name in ("max_pool", "avg_pool"))


@pytest.fixture
def either_way(monkeypatch):
    """Results of a call as if it were of few windows, and as if it were of many."""

    def run(compute, *arguments):
        results = []
        for few in (1 << 40, 0):
            monkeypatch.setattr(path, "FEW", few)
            path._plan.cache_clear()
            results.append(compute(*arguments))
        return results

    yield run
    path._plan.cache_clear()


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert a.tobytes() == b.tobytes()


def drawn(rng, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    a = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([-0.0, 0.0, 1.0, np.inf, -np.inf], shape), a).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool(case: Case, dtype, rng, either_way):
    g = geometry_of(OPERATIONS["max_pool"], case)
    x = drawn(rng, g.x_shape, dtype)
    x[rng.random(x.shape) < 0.1] = np.nan
    (y, taps), (other_y, other_taps) = either_way(path.max_pool, x, g)
    assert_same_bits(y, other_y)
    assert_same_bits(taps, other_taps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", AVG_POOL, ids=str)
def test_avg_pool(case: Case, dtype, rng, either_way):
    g = geometry_of(OPERATIONS["avg_pool"], case)
    assert_same_bits(*either_way(path.avg_pool, rng.standard_normal(g.x_shape).astype(dtype), g))
    assert_same_bits(*either_way(path.avg_pool_grad, rng.standard_normal(g.y_shape).astype(dtype), g))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool_grad_adds_in_the_order_of_the_windows(case: Case, dtype, rng):
    """Whichever loop adds them; zeros have no sign, and taps that no forward made are passed over."""
    g = geometry_of(OPERATIONS["max_pool"], case)
    _, taps = path.max_pool(rng.standard_normal(g.x_shape).astype(dtype), g)
    made_up = rng.random(taps.shape) < 0.1
    taps[made_up] = rng.integers(np.iinfo(g.tap_dtype).max + 1, size=taps.shape)[made_up]
    dy = drawn(rng, g.y_shape, dtype)
    with np.errstate(invalid="ignore"):
        assert_same_bits(path.max_pool_grad(dy, taps, g), in_window_order(dy, taps, g))


@by_channels_first
def in_window_order(dy: np.ndarray, taps: np.ndarray, g: PoolGeometry) -> np.ndarray:
    """A later tap of a window stands where an earlier tap of a later window does."""
    dx = padded(np.zeros(g.x_shape, dy.dtype), g)
    for number, met in reversed(list(enumerate(slices(g)))):
        dx[met] += np.where(taps == number, dy, 0)
    return unpadded(dx, g)
