"""The host's work per kernel, counted without a GPU, and that kept launches are the ones of a first call."""

from __future__ import annotations

import sys
from collections.abc import Callable

import emulator
import numpy as np
import pytest
from cupys import emulated

from backstride import kernels
from backstride.benchmarks import launch_cost
from backstride.kernels.cuda.runtime import replay


def test_a_repeated_call_does_little(cupyless):
    """Counted, not timed: how long it takes is the machine's. 23 to 129 where this was written; a launch that is not
    kept makes at least 179, and a geometry that is not kept hundreds."""
    made = {name: functions_called(call) / launch_cost.measure(call, 1, 1)[1] for name, call in cupyless.items()}
    assert max(made.values()) < 150, made


def test_the_count_sees_a_launch_that_is_not_kept(cupyless):
    def forgetful():
        replay.forget()
        cupyless["relu"]()

    assert functions_called(forgetful) > 150


def functions_called(call: Callable[[], object]) -> int:
    """How many functions the second call of `call` calls, Python's and C's."""
    found = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    call()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.fixture
def cupyless():
    """Every operation on arrays that a launch costs nothing."""
    with launch_cost.installed() as cupy:
        yield launch_cost.calls(cupy)


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
