"""The host's work per kernel, measured without a GPU, and that kept launches are the ones of a first call."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
from cupys import emulated

from backstride import kernels
from backstride.benchmarks import launch_cost
from backstride.kernels.cuda.runtime import replay


def test_a_repeated_call_costs_microseconds():
    with launch_cost.installed() as cupy:
        costs = {name: launch_cost.measure(call, 25, 20) for name, call in launch_cost.calls(cupy).items()}
    print({name: f"{seconds * 1e6:.1f} us, {launches} kernels" for name, (seconds, launches) in costs.items()})
    # 4 to 13 us a kernel where this was written; without kept launches and geometries 100 to 270
    assert max(seconds / launches for seconds, launches in costs.values()) < 60e-6


@pytest.fixture
def cupy(monkeypatch):
    with emulated(monkeypatch) as module:
        yield module


def test_kept_launches_get_the_new_arrays(cupy, rng):
    w = cupy.asarray(rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
    for layout in (lambda a: a, lambda a: a, lambda a: a[:, ::-1], lambda a: a.transpose(0, 1, 3, 2)):
        x = layout(cupy.asarray(rng.standard_normal((2, 3, 7, 7)).astype(np.float32)))
        with emulator.record_launches() as launches:
            y = kernels.conv2d(x, w, padding=1)
        assert len(launches) == 1
        expected = kernels.conv2d(x.get(), w.get(), padding=1)
        np.testing.assert_allclose(y.get(), expected, rtol=0, atol=1e-4)  # float32 sums of 27 products below 10
    assert len(replay._local.calls) == 1


def test_a_call_with_one_array_twice_is_not_taken_for_another(cupy, rng):
    a, b = (rng.standard_normal((5, 5)).astype(np.float32) for _ in range(2))
    for x, w in ((a, a), (a, b), (b, a)):
        moved = [cupy.asarray(x), cupy.asarray(w)]
        same = [moved[0], moved[0] if x is w else moved[1]]
        np.testing.assert_allclose(kernels.linear(*same).get(), kernels.linear(x, w), rtol=0, atol=1e-5)


def test_what_returns_two_arrays_and_what_needs_partial_sums(cupy, rng):
    for _ in range(3):
        x = rng.standard_normal((3, 2, 6, 6)).astype(np.float32)
        y, taps = kernels.max_pool2d(cupy.asarray(x), 2)
        expected, expected_taps = kernels.max_pool2d(x, 2)
        np.testing.assert_array_equal(y.get(), expected)
        np.testing.assert_array_equal(taps.get(), expected_taps)
        db = kernels.linear_bias_grad(cupy.asarray(x.reshape(6, 36)))
        assert db.shape == (36,)
        np.testing.assert_allclose(db.get(), x.reshape(6, 36).sum(axis=0), rtol=0, atol=1e-5)
