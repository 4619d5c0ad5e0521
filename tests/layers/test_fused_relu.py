"""Layers that end with a ReLU: a layer and a ReLU behind it, in one."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.layers import Conv1d, Conv2d, Conv3d, Linear, ReLU, Sequential

LAYERS = {
    "Conv1d": (lambda **o: Conv1d(3, 5, 3, dtype="float64", rng=0, **o), (2, 3, 9)),
    "Conv2d": (lambda **o: Conv2d(4, 6, 3, 2, 1, groups=2, dtype="float64", rng=0, **o), (3, 4, 9, 8)),
    "Conv2d without bias": (lambda **o: Conv2d(3, 5, 1, bias=False, dtype="float64", rng=0, **o), (2, 3, 7, 9)),
    "Conv2d, channels last": (lambda **o: Conv2d(3, 5, 3, layout="NHWC", dtype="float64", rng=0, **o), (2, 7, 9, 3)),
    "Conv3d": (lambda **o: Conv3d(2, 3, 2, dtype="float64", rng=0, **o), (2, 2, 4, 5, 3)),
    "Linear": (lambda **o: Linear(12, 7, dtype="float64", rng=0, **o), (5, 3, 4)),
    "Linear of columns": (lambda **o: Linear(12, 7, batch_axis=1, dtype="float64", rng=0, **o), (12, 5)),
}


def step(net, x, dy, **options):
    y = net(x)
    dx = net.backward(dy, **options)
    return y, dx, *(parameter.grad for parameter in net.parameters())


@pytest.mark.parametrize("needs_input_grad", [True, False])
@pytest.mark.parametrize("frozen", [(), ("weight",), ("bias",)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_the_bits_are_those_of_two_layers(name, frozen, needs_input_grad, rng):
    make, x_shape = LAYERS[name]
    fused, apart = make(activation="relu"), Sequential(make(), ReLU())
    for layer in (fused, apart[0]):
        for parameter in frozen:
            if getattr(layer, parameter) is not None:
                getattr(layer, parameter).requires_grad = False
    x = rng.standard_normal(x_shape)
    dy = rng.standard_normal(make()(x).shape)
    arrived = dy.copy()
    ours, theirs = (step(net, x, dy, needs_input_grad=needs_input_grad) for net in (fused, apart))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(dy, arrived)
    assert (ours[0] == 0).any()


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_predict_differences(name, rng):
    """Far from the kink a difference of 1e-6 meets rounding of 1e-16 / 1e-6 and no other error: 1e-8 of the sums."""
    make, x_shape = LAYERS[name]
    layer, x = make(activation="relu"), rng.standard_normal(x_shape)
    y = layer(x)
    dy = np.where(np.abs(make()(x)) > 1e-4, rng.standard_normal(y.shape), 0)
    dx, direction = layer.backward(dy), rng.standard_normal(x_shape)
    for array, gradient in ((x, dx), (layer.weight.data, layer.weight.grad)):
        direction = rng.standard_normal(array.shape)
        array += 1e-6 * direction
        above = layer(x)
        array -= 2e-6 * direction
        measured = (dy * (above - layer(x))).sum() / 2e-6
        array += 1e-6 * direction
        np.testing.assert_allclose(measured, (gradient * direction).sum(), rtol=1e-8, atol=1e-8 * np.abs(dy).sum())


def test_nothing_is_kept_in_evaluation(rng):
    layer = Conv2d(3, 4, 3, activation="relu").eval()
    layer(rng.standard_normal((1, 3, 5, 5), np.float32))
    with pytest.raises(RuntimeError, match="eval mode"):
        layer.backward(np.zeros((1, 4, 3, 3), np.float32))


def test_names_and_text():
    layer = Conv2d(3, 4, 3, activation="relu")
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert repr(layer) == "Conv2d(3, 4, (3, 3), activation='relu')"
    assert repr(Linear(3, 2, activation="relu")) == "Linear(3, 2, activation='relu')"


@pytest.mark.parametrize("make", [lambda o: Conv1d(1, 1, 1, activation=o), lambda o: Linear(1, 1, activation=o)])
def test_an_activation_that_there_is_none_of(make):
    with pytest.raises(ValueError, match="activation is 'gelu'; expected None or 'relu'"):
        make("gelu")


def test_a_gradient_of_another_shape(rng):
    layer = Linear(3, 2, activation="relu", dtype="float64")
    layer(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"dy\.shape is \(4, 3\); expected \(4, 2\)"):
        layer.backward(np.ones((4, 3)))
