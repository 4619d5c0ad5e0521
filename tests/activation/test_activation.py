"""Activations and their gradients against the reference, beside PyTorch, and at the edges of the number range."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, assert_exact, dtype_of, normal

from backstride import explain, kernels, layers
from backstride.kernels.cpu.erf import erfc

INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class Activation:
    """keeps: what the gradient takes. roundings: how many an element's error is worth; 0: exact. steep: whether it is
    an exponential's, which errs by so many times 1 + x² more."""

    name: str
    keeps: str
    roundings: int
    steep: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.name, *map(str, self.options.values())])


ALL = (
    Activation("relu", "y", 0),
    Activation("relu6", "y", 0),
    Activation("leaky_relu", "y", 2),
    Activation("leaky_relu", "y", 2, options={"negative_slope": 0.3}),
    # an exponential and a division, each of a unit or two
    Activation("sigmoid", "y", 8),
    Activation("tanh", "y", 8),
    Activation("silu", "x", 10),
    Activation("gelu", "x", 10, True),
    Activation("gelu", "x", 10, True, {"approximate": "tanh"}),
    Activation("hardswish", "x", 6),
)


def numbers(rng, dtype):
    """A full block and a tail, with what stands at the kinks and near the ends of the exponentials."""
    x = 3 * normal(rng, (3, 5, 149), dtype)
    edges = [0.0, -0.0, 3, -3, 6, -6, 6.5, -9, 20, -20, 80, -80, 2.0**-24, -(2.0**-24)]
    x.flat[: len(edges)] = edges
    return x.astype(dtype_of(dtype)).astype(np.float64)


def terms_of_gradient(activation, dy, x):
    """The magnitude of an element's terms, of which two cancel where the derivative is 0."""
    if activation.name == "hardswish":
        return np.abs(dy) * np.where(x <= -3, 0, np.abs(x) / 3 + 0.5)
    factor = reference.sigmoid(x) if activation.name == "silu" else reference._gelu_factor(x, **_form(activation))
    rest = reference.sigmoid(-x) if activation.name == "silu" else np.exp(-np.minimum(x * x, 80) / 2) * (1 + x * x)
    return np.abs(dy) * (factor * (1 + np.abs(x) * rest) + (activation.steep * np.abs(x) * rest))


def _form(activation):
    return {"approximate": activation.options.get("approximate", "none")}


def assert_close(activation, got, exact, magnitude, x):
    if activation.roundings == 0:
        assert_exact(got, exact)
        return
    scale = 1 + x * x if activation.steep else 1
    eps = 2.0**-52 if got.dtype == np.float64 else 2.0**-23
    tiny = 2.0**-1022 if got.dtype == np.float64 else 2.0**-126  # what is smaller may be flushed to 0
    assert_accurate(got, exact, magnitude * scale + 2 * tiny / eps, activation.roundings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_value_and_gradient(path, activation, dtype, rng):
    x = numbers(rng, dtype)
    y = path.run(getattr(kernels, activation.name), x.astype(dtype_of(dtype)), **activation.options)
    exact = getattr(reference, activation.name)(x, **activation.options)
    assert_close(activation, y, exact, np.abs(exact), x)

    dy = normal(rng, x.shape, dtype)
    kept = y if activation.keeps == "y" else x.astype(dtype_of(dtype))
    gradient = f"{activation.name}_grad"
    dx = path.run(getattr(kernels, gradient), dy.astype(dtype_of(dtype)), kept, **activation.options)
    exact = getattr(reference, gradient)(dy, kept.astype(np.float64), **activation.options)
    terms = np.abs(exact) if activation.keeps == "y" else terms_of_gradient(activation, dy, x)
    assert_close(activation, dx, exact, terms, x)


EDGES = [-INF, -3.0, 0.0, 3.0, 6.0, INF, NAN]
"""In float64; the results are PyTorch's."""
VALUES = {
    "relu": ([0, 0, 0, 3, 6, INF, NAN], [0, 0, 0, 1, 1, 1, 1]),
    "relu6": ([0, 0, 0, 3, 6, 6, NAN], [0, 0, 0, 1, 0, 0, 1]),
    "leaky_relu": ([-INF, -0.03, 0, 3, 6, INF, NAN], [0.01, 0.01, 0.01, 1, 1, 1, 0.01]),
    "sigmoid": ([0, None, 0.5, None, None, 1, NAN], [0, None, 0.25, None, None, 0, NAN]),
    "tanh": ([-1, None, 0, None, None, 1, NAN], [0, None, 1, None, None, 0, NAN]),
    "silu": ([NAN, None, 0, None, None, INF, NAN], [NAN, None, 0.5, None, None, NAN, NAN]),
    "gelu": ([NAN, None, 0, None, None, INF, NAN], [NAN, None, 0.5, None, None, NAN, NAN]),
    "hardswish": ([NAN, 0, 0, 3, 6, INF, NAN], [0, 0, 0.5, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("name", VALUES)
def test_edges(path, name):
    activation = next(each for each in ALL if each.name == name)
    x, (values, gradients) = np.array(EDGES), VALUES[name]
    y = path.run(getattr(kernels, name), x)
    dx = path.run(getattr(kernels, f"{name}_grad"), np.ones(len(x)), y if activation.keeps == "y" else x)
    for got, expected in ((y, values), (dx, gradients)):
        known = [i for i, value in enumerate(expected) if value is not None]
        np.testing.assert_array_equal(got[known], [expected[i] for i in known])


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_what_does_not_pass_is_stopped(path, name):
    """0 times an infinity or NaN would be NaN."""
    dy = np.array([INF, NAN, -INF, 2.0], np.float32)
    dx = path.run(getattr(kernels, f"{name}_grad"), dy, np.array([0, 0, 0, 1], np.float32))
    np.testing.assert_array_equal(dx, [0, 0, 0, 2])


@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu"])
def test_subnormal_values_count(path, name):
    x = np.array([2.0**-149, -(2.0**-149), 2.0**-130], np.float32)
    y = path.run(getattr(kernels, name), x)
    np.testing.assert_array_equal(y, [2.0**-149, 0, 2.0**-130])
    dx = path.run(getattr(kernels, f"{name}_grad"), np.ones(3, np.float32), y)
    np.testing.assert_array_equal(dx, [1, np.float32(0.01 if name == "leaky_relu" else 0), 1])


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_huge_values_overflow_nowhere(path, activation):
    x = np.array([3e38, -3e38, 1e20, -1e20], np.float32)
    y = path.run(getattr(kernels, activation.name), x, **activation.options)
    kept = y if activation.keeps == "y" else x
    dx = path.run(getattr(kernels, f"{activation.name}_grad"), np.ones(4, np.float32), kept, **activation.options)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_any_number_of_axes(path, shape):
    x = np.full(shape, 2, np.float32)
    for activation in ALL:
        y = path.run(getattr(kernels, activation.name), x)
        dx = path.run(getattr(kernels, f"{activation.name}_grad"), x, y if activation.keeps == "y" else x)
        assert (y.shape, dx.shape, y.dtype, dx.dtype) == (shape, shape, x.dtype, x.dtype)


def test_any_strides(path, rng):
    x = rng.standard_normal((6, 5, 8)).astype(np.float32)
    for name in ("relu", "silu"):
        whole = path.run(getattr(kernels, name), x)
        for view in (lambda a: a[::-1], lambda a: a.T, lambda a: a[:, 1:, ::3], lambda a: a[1:, 3, 1:]):
            got = getattr(kernels, name)(view(path.asarray(x)))
            assert got.flags.c_contiguous
            np.testing.assert_array_equal(path.to_numpy(got), view(whole))


def test_one_launch_each():
    with emulator.installed() as cupy, emulator.record_launches() as launches:
        x = cupy.asarray(np.ones((3, 70), np.float32))
        for activation in ALL:
            y = getattr(kernels, activation.name)(x, **activation.options)
            getattr(kernels, f"{activation.name}_grad")(x, y, **activation.options)
    assert [launch.name for launch in launches] == ["activation", "activation_grad"] * len(ALL)


def test_erfc():
    """In float64 1 - erfc errs by less than 1e-15, and erfc by its own last digits until it vanishes."""
    x = np.linspace(-7, 27, 34_001)
    exact = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(1 - erfc(x), [math.erf(v) for v in x], rtol=0, atol=1e-15)
    normal = exact > 1e-300
    assert (np.abs(erfc(x) - exact)[normal] <= 3 * 2.0**-52 * (exact * (1 + x * x))[normal]).all()
    np.testing.assert_array_equal(erfc(np.array([0, INF, -INF, NAN])), [1, 0, 2, NAN])


LAYERS = {
    "relu": layers.ReLU(),
    "relu6": layers.ReLU6(),
    "leaky_relu": layers.LeakyReLU(),
    "leaky_relu 0.3": layers.LeakyReLU(0.3),
    "sigmoid": layers.Sigmoid(),
    "tanh": layers.Tanh(),
    "silu": layers.SiLU(),
    "gelu": layers.GELU(),
    "gelu tanh": layers.GELU("tanh"),
    "hardswish": layers.Hardswish(),
}


def test_every_activation_is_a_layer():
    assert [str(activation) for activation in ALL] == list(LAYERS)


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_layer(activation, rng):
    layer, x, dy = LAYERS[str(activation)], *rng.standard_normal((2, 4, 3))
    y = layer(x)
    np.testing.assert_array_equal(y, getattr(kernels, activation.name)(x, **activation.options))
    dx = layer.backward(dy)
    kept = y if activation.keeps == "y" else x
    np.testing.assert_array_equal(dx, getattr(kernels, f"{activation.name}_grad")(dy, kept, **activation.options))
    layer(x)
    assert layer.backward(dy, needs_input_grad=False) is None
    name = type(layer).__name__
    assert repr(layer).startswith(f"{name}(")
    with pytest.raises(TypeError, match=rf"^{name}: x.dtype is int64"):
        layer(np.zeros(3, int))
    layer(x)
    with pytest.raises(ValueError, match=rf"^{name}.backward: dy.shape is \(3, 4\); expected \(4, 3\), that is the sh"):
        layer.backward(dy.T)


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_explained(activation):
    """Terms are the derivative by another formula, and the gradient agrees with finite differences."""
    explanation = explain(layers.Sequential(LAYERS[str(activation)]), (3, 4))
    assert explanation.agrees
    (gradient,) = explanation.gradients
    for index in np.ndindex(3, 4):
        terms = explanation.term(gradient, index)
        assert terms.total == pytest.approx(terms.computed, rel=1e-13, abs=1e-14)


def test_identity(rng):
    layer, x = layers.Identity(), rng.standard_normal((2, 3))
    assert layer(x) is x
    assert layer.backward(x) is x
    assert explain(layers.Sequential(layer), (2, 3)).agrees
    layer(x)
    with pytest.raises(ValueError, match=r"^Identity.backward: dy.shape is \(3,\); expected \(2, 3\)"):
        layer.backward(np.zeros(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: kernels.leaky_relu(x, negative_slope=-0.1), "leaky_relu: negative_slope is -0.1; expected a finite"),
        (lambda x: kernels.leaky_relu(x, negative_slope="a"), "leaky_relu: negative_slope is 'a'; expected a number"),
        (lambda x: kernels.leaky_relu_grad(x, x, negative_slope=NAN), "leaky_relu_grad: negative_slope is nan; expect"),
        (lambda x: kernels.gelu(x, approximate="erf"), "gelu: approximate is 'erf'; expected 'none' or 'tanh'"),
        (lambda x: kernels.gelu_grad(x, x, approximate=True), "gelu_grad: approximate is True; expected 'none' or"),
        (
            lambda x: kernels.relu_grad(x, x[:1]),
            r"relu_grad: dy.shape is \(2, 3\); expected \(1, 3\), that is",
        ),
        (lambda x: layers.LeakyReLU(-1), "LeakyReLU: negative_slope is -1; expected a finite number >= 0"),
        (lambda x: layers.GELU("sigmoid"), "GELU: approximate is 'sigmoid'; expected 'none' or 'tanh'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(np.zeros((2, 3)))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_pytorch_agrees(activation, dtype, rng, torch):
    for _ in range(20):
        x, dy = 4 * rng.standard_normal((2, *rng.integers(0, 9, rng.integers(1, 5)))).astype(dtype)
        t = torch.from_numpy(x).requires_grad_()
        theirs = getattr(torch.nn.functional, activation.name)(t, **activation.options)
        theirs.backward(torch.from_numpy(dy))
        y = getattr(kernels, activation.name)(x, **activation.options)
        kept = y if activation.keeps == "y" else x
        dx = getattr(kernels, f"{activation.name}_grad")(dy, kept, **activation.options)
        # float32: 1 + erf cancels there, to an absolute error of 2**-24, times x and x² up to 20; float16: PyTorch
        # rounds twice, ours computes with a rounded y
        tolerance = {"float64": 1e-13, "float32": 1e-5, "float16": 2e-2}[dtype]
        np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=tolerance, atol=tolerance)
