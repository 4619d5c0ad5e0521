"""Softmax, its logarithm and their gradients against the reference, beside PyTorch, and at the ends of the range."""

from __future__ import annotations

import math

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, dtype_of, normal

from backstride import explain, kernels
from backstride.kernels.softmax.cases import SOFTMAX
from backstride.layers import Sequential, Softmax

INF, NAN = math.inf, math.nan
FINITE = [case for case in SOFTMAX if 0 not in case.x]


def axis_of(case):
    return case.options["axis"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FINITE, ids=str)
def test_value_and_gradient(path, case, dtype, rng):
    axis, x, dy = axis_of(case), 5 * normal(rng, case.x, dtype), normal(rng, case.x, dtype)
    x = x.astype(dtype_of(dtype)).astype(np.float64)
    rounds = case.x[axis] + 8  # those of the sum over a row, an exponential, a logarithm and a division
    z = np.abs(x - x.max(axis, keepdims=True))
    for name in ("softmax", "log_softmax"):
        y = path.run(getattr(kernels, name), x.astype(dtype_of(dtype)), axis)
        exact = getattr(reference, name)(x, axis)
        # an exponential errs by as many roundings as its argument is large; the logarithm's argument is at least 1
        assert_accurate(y, exact, exact * (1 + z) if name == "softmax" else 1 + np.abs(exact) + z, rounds)

        kept = y.astype(np.float64)
        dx = path.run(getattr(kernels, f"{name}_grad"), dy.astype(dtype_of(dtype)), y, axis)
        exact = getattr(reference, f"{name}_grad")(dy, kept, axis)
        if name == "softmax":
            terms = kept * (np.abs(dy) + (np.abs(dy) * kept).sum(axis, keepdims=True))
        else:
            terms = np.abs(dy) + np.exp(kept) * (1 + np.abs(kept)) * np.abs(dy).sum(axis, keepdims=True)
        assert_accurate(dx, exact, terms, rounds)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_gradient_is_the_differences(path, name, rng):
    """Affine it is not: at this step the cubic term is some 1e-12 of the gradient."""
    x, dy = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    step, direction = 1e-4, rng.standard_normal(x.shape)
    function = getattr(kernels, name)
    dx = path.run(getattr(kernels, f"{name}_grad"), dy, path.run(function, x, 1), 1)
    above, below = (path.run(function, x + side * step * direction, 1) for side in (1, -1))
    measured = (dy * (above - below)).sum() / (2 * step)
    assert measured == pytest.approx((dx * direction).sum(), abs=1e-7)


def test_ends_of_the_range(path):
    x = np.array([[3e38, -3e38, 0], [-INF, 1, 1], [-INF, -INF, 5], [INF, 0, 0], [NAN, 0, 0], [-INF, -INF, -INF]], "f4")
    y = path.run(kernels.softmax, x)
    expected = [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [NAN] * 3, [NAN] * 3, [NAN] * 3]
    np.testing.assert_array_equal(y, expected)
    logarithm = path.run(kernels.log_softmax, x)
    np.testing.assert_array_equal(np.isnan(logarithm), np.isnan(expected))
    np.testing.assert_array_equal(logarithm[1:3, 0], [-INF, -INF])
    assert np.isfinite(path.run(kernels.softmax_grad, np.ones((3, 3), "f4"), y[:3])).all()


@pytest.mark.parametrize(("shape", "axis"), [((0, 3), 1), ((3, 0), 0), ((3, 0), 1), ((0,), 0)])
def test_empty(path, shape, axis):
    for name in ("softmax", "log_softmax"):
        y = path.run(getattr(kernels, name), np.zeros(shape, np.float32), axis)
        assert path.run(getattr(kernels, f"{name}_grad"), y, y, axis).shape == y.shape == shape


def test_any_strides_and_the_same_bits(path, rng):
    x = rng.standard_normal((6, 5, 8)).astype(np.float32)
    for view in (lambda a: a[::-1], lambda a: a.T, lambda a: a[:, 1:, ::3]):
        got = kernels.softmax(view(path.asarray(x)), 1)
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(path.to_numpy(got), path.run(kernels.softmax, np.ascontiguousarray(view(x)), 1))


def test_one_launch_each():
    with emulator.installed() as cupy, emulator.record_launches() as launches:
        x = cupy.asarray(np.ones((3, 70), np.float32))
        for name in ("softmax", "log_softmax"):
            getattr(kernels, f"{name}_grad")(x, getattr(kernels, name)(x))
    assert [launch.name for launch in launches] == ["softmax", "softmax_grad"] * 2


def test_layer(rng):
    layer, (x, dy) = Softmax(1), rng.standard_normal((2, 3, 4, 5))
    y = layer(x)
    np.testing.assert_array_equal(y, kernels.softmax(x, 1))
    np.testing.assert_array_equal(layer.backward(dy), kernels.softmax_grad(dy, y, 1))
    assert repr(layer) == "Softmax(axis=1)"
    explanation = explain(Sequential(Softmax(1)), (2, 3, 4))
    assert explanation.agrees
    for index in np.ndindex(2, 3, 4):
        terms = explanation.term("softmax.dx", index)
        assert terms.total == pytest.approx(terms.computed, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: kernels.softmax(x, 2), "softmax: axis is 2; expected an int from -2 to 1"),
        (lambda x: kernels.softmax(x, -3), "softmax: axis is -3; expected an int from -2 to 1"),
        (lambda x: kernels.log_softmax(x, "a"), "log_softmax: axis is 'a'; expected an int from -2 to 1"),
        (lambda x: kernels.softmax(x, True), "softmax: axis is True; expected an int from -2 to 1"),
        (lambda x: kernels.softmax(x[0, 0, ...]), r"softmax: x.shape is \(\); expected at least one axis"),
        (lambda x: kernels.softmax_grad(x, x[:1]), r"softmax_grad: dy.shape is \(2, 3\); expected \(1, 3\), that is"),
        (lambda x: kernels.log_softmax_grad(x, x, 5), "log_softmax_grad: axis is 5; expected an int from -2 to 1"),
        (lambda x: Softmax(2)(x), "softmax: axis is 2; expected an int from -2 to 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_pytorch_agrees(name, dtype, rng, torch):
    for _ in range(40):
        shape = rng.integers(1, 9, rng.integers(1, 5))
        axis = int(rng.integers(-len(shape), len(shape)))
        x, dy = 4 * rng.standard_normal((2, *shape)).astype(dtype)
        t = torch.from_numpy(x).requires_grad_()
        theirs = getattr(torch.nn.functional, name)(t, axis)
        theirs.backward(torch.from_numpy(dy))
        y = getattr(kernels, name)(x, axis)
        # at most 8 terms of up to 20, in both
        tolerance = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)
        dx = getattr(kernels, f"{name}_grad")(dy, y, axis)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=0, atol=20 * tolerance)
