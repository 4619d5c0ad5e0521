"""Compiled loops over pixels whose channels stand last: bits are those of channels first, whatever else is computed.

Here they pool any number of channels, as they do from a vector of them on."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import jit
from backstride.kernels import OPERATIONS
from backstride.kernels.layout import NHWC, to_channels_first, to_channels_last
from backstride.kernels.operation import Case, geometry_of

if jit.missing() is not None:
    pytest.skip("Numba is not installed", allow_module_level=True)

from backstride.kernels.jit import blocks
from backstride.kernels.pool import jit as path
from backstride.kernels.pool import jit_nhwc

DTYPES = ("float32", "float64")
MAX_POOL, AVG_POOL = (
    [case for case in OPERATIONS[name].family.cases if case.options.get("layout") == NHWC and 0 not in case.x]
    for name in ("max_pool", "avg_pool")
)
CHAINS = Case("chains", (2, 18, 19, 3), (), {"kernel_size": 18, "stride": 1, "layout": NHWC})
"""Of which a sum is more than one chain of products."""


def special(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Ties, zeros of both signs, infinities and NaN among other numbers."""
    few = rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, np.inf, -np.inf], shape)
    return np.where(rng.random(shape) < 0.5, few, rng.standard_normal(shape)).astype(dtype)


def assert_same_bits(last: np.ndarray, other: np.ndarray) -> None:
    assert (last.shape, last.dtype) == (other.shape, other.dtype)
    assert last.tobytes() == other.tobytes()


def assert_as_channels_first(operation: str, arrays: tuple[np.ndarray, ...], g) -> None:
    results = getattr(jit_nhwc, operation)(*arrays, g)
    firsts = getattr(path, operation)(*map(to_channels_first, arrays), g.channels_first)
    pairs = zip(results, firsts, strict=True) if isinstance(results, tuple) else [(results, firsts)]
    for last, first in pairs:
        assert_same_bits(last, to_channels_last(first))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool(case: Case, dtype, rng):
    """Taps of the gradient are also such as no forward made."""
    g = geometry_of(OPERATIONS["max_pool"], case)
    x = special(rng, g.x_shape, dtype)
    assert_as_channels_first("max_pool", (x,), g)
    _, taps = jit_nhwc.max_pool(x, g)
    made_up = rng.random(taps.shape) < 0.1
    taps[made_up] = rng.integers(np.iinfo(g.tap_dtype).max + 1, size=taps.shape)[made_up]
    assert_as_channels_first("max_pool_grad", (rng.standard_normal(g.y_shape).astype(dtype), taps), g)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*AVG_POOL, CHAINS], ids=str)
def test_avg_pool(case: Case, dtype, rng):
    """Of one window that is the whole image, the sum of channels first is in another order: small integers."""
    g = geometry_of(OPERATIONS["avg_pool"], case)
    exact = set(g.windows) == {1}
    x, dy = (rng.integers(-9, 9, shape) if exact else rng.standard_normal(shape) for shape in (g.x_shape, g.y_shape))
    assert_as_channels_first("avg_pool", (x.astype(dtype),), g)
    assert_as_channels_first("avg_pool_grad", (dy.astype(dtype),), g)


def all_of_them(case: Case, x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    case = Case("", (len(x), *case.x[1:]), (), case.options)
    g, of_average = (geometry_of(OPERATIONS[name], case) for name in ("max_pool", "avg_pool"))
    y, taps = jit_nhwc.max_pool(x, g)
    gradients = jit_nhwc.max_pool_grad(dy, taps, g), jit_nhwc.avg_pool_grad(dy, of_average)
    return [y, taps, *gradients, jit_nhwc.avg_pool(x, of_average)]


SHARED = [case for case in MAX_POOL if "dilation" not in case.options and case.x[0] > 1]


@pytest.mark.parametrize("case", SHARED, ids=str)
def test_bits_depend_neither_on_threads_nor_on_the_batch(case: Case, monkeypatch, rng):
    g = geometry_of(OPERATIONS["max_pool"], case)
    x, dy = (rng.standard_normal(shape, np.float32) for shape in (g.x_shape, g.y_shape))
    expected = all_of_them(case, x, dy)
    for n in range(len(x)):
        for whole, alone in zip(expected, all_of_them(case, x[n : n + 1], dy[n : n + 1]), strict=True):
            assert_same_bits(alone, whole[n : n + 1])
    monkeypatch.setattr(jit_nhwc, "WORTH", 1)
    for count in (1, 2, 3):
        monkeypatch.setattr(blocks.threads, "count", lambda count=count: count)
        for whole, shared in zip(expected, all_of_them(case, x, dy), strict=True):
            assert_same_bits(shared, whole)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_from_a_vector_of_channels_on(dtype, monkeypatch):
    """float16 is computed in float32."""
    lanes = jit_nhwc.lanes(np.dtype("float64" if dtype == "float64" else "float32"))
    seen = []
    monkeypatch.setattr(jit_nhwc, "over_images", lambda work, inputs, outputs: seen.append(inputs[0].shape[-1]))
    for channels in (lanes - 1, lanes):
        x = np.ones((1, 4, 4, channels), dtype)
        path.avg_pool(x, geometry_of(OPERATIONS["avg_pool"], Case("", x.shape, (), {"kernel_size": 2, "layout": NHWC})))
    assert seen == [lanes]
