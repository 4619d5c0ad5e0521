"""What runs on whole arrays (losses, activations, optimizers, state_dict) on CuPy: the same numbers as on NumPy, and no
wait for the device. On a real GPU where there is one, and on the emulator's arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cupys import emulated, no_waiting, real

import backstride
from backstride import optim
from backstride.layers import (
    AvgPool2d,
    Conv2d,
    CrossEntropyLoss,
    Flatten,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    Sequential,
)


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


@pytest.mark.parametrize("batch_axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_loss(batch_axis, dtype, cupy, rng):
    logits = (5 * rng.standard_normal((6, 4))).astype(dtype)
    labels = rng.integers(0, 4, 6)
    given = logits if batch_axis == 0 else logits.T
    here, there = CrossEntropyLoss(batch_axis=batch_axis), CrossEntropyLoss(batch_axis=batch_axis)
    on_device, labels_there = cupy.asarray(given), cupy.asarray(labels)
    with no_waiting():
        value = there(on_device, labels_there)
        gradient = there.backward()
    assert isinstance(value, cupy.ndarray)
    expected = here(given, labels)
    assert (value.dtype, value.shape) == (expected.dtype, ())
    # exp and log of the device may differ from NumPy's in the last bits
    np.testing.assert_allclose(value.get(), expected, rtol=1e-5 if dtype != "float64" else 1e-14)
    tolerance = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient.get(), here.backward(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("wrong", [-1, 4, 1000])
def test_a_label_out_of_range_shows_as_nan(wrong, cupy, rng):
    logits, labels = rng.standard_normal((3, 4)), np.array([1, wrong, 2])
    loss = CrossEntropyLoss()
    assert math.isnan(float(loss(cupy.asarray(logits), cupy.asarray(labels))))
    gradient = loss.backward().get()
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), [False, True, False])
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=1), [False, True, False])


def test_logits_and_labels_of_two_libraries(cupy):
    with pytest.raises(TypeError, match="labels is a numpy array; expected a cupy array as logits"):
        CrossEntropyLoss()(cupy.asarray(np.zeros((2, 3))), np.zeros(2, int))


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (optim.Adam, {"weight_decay": 0.1}),
        (optim.AdamW, {}),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_optimizers(rule, options, dtype, cupy, rng):
    start = rng.standard_normal((5, 3)).astype(dtype)
    here, there = Parameter(start.copy()), Parameter(cupy.asarray(start))
    ours, reference = rule([there], **options), rule([here], **options)
    for _ in range(4):
        gradient = rng.standard_normal(start.shape).astype(dtype)
        here.grad, there.grad = gradient, cupy.asarray(gradient)
        with no_waiting():
            ours.step()
        reference.step()
    np.testing.assert_array_equal(there.data.get(), here.data)  # the same operations in the same order
    resumed = rule([Parameter(there.data)], **options)
    resumed.load_state_dict(reference.state_dict())  # NumPy's state, onto the device
    for name, array in ours.state_dict().items():
        assert isinstance(array, cupy.ndarray)
        np.testing.assert_array_equal(array.get(), reference.state_dict()[name])
        np.testing.assert_array_equal(resumed.state_dict()[name].get(), reference.state_dict()[name])


def test_relu_and_flatten(cupy):
    x = np.array([[[-1, np.nan], [0, 2]]], np.float32)
    net = Sequential(ReLU(), Flatten())
    on_device = cupy.asarray(x)
    with no_waiting():
        y = net(on_device)
        dx = net.backward(y)
    np.testing.assert_array_equal(y.get(), [[0, np.nan, 0, 2]])
    np.testing.assert_array_equal(dx.get(), [[[0, np.nan], [0, 2]]])
    assert dx.dtype == np.float32


def test_parameters_start_the_same_and_move(cupy):
    def make():
        return Sequential(Conv2d(3, 4, (3, 2), rng=1), Linear(5, 2, batch_axis=1, rng=2))

    with backstride.use_backend("numpy"):
        here = make()
    there = make()
    for p, q in zip(there.parameters(), here.parameters(), strict=True):
        p.add_grad(1)
        assert isinstance(p.data, cupy.ndarray)
        assert isinstance(p.grad, cupy.ndarray)
        np.testing.assert_array_equal(p.data.get(), q.data)
    here.load_state_dict(there.state_dict())
    there.load_state_dict(here.state_dict())
    assert isinstance(next(there.to("numpy").parameters()).data, np.ndarray)
    assert isinstance(next(there.to("cupy").parameters()).grad, cupy.ndarray)


def test_a_training_step(cupy, rng):
    """Forward, loss, backward and update of a network with every layer, as on NumPy and without waiting."""

    def make():
        return Sequential(
            Conv2d(2, 3, (3, 2), stride=2, padding=1, rng=1),
            ReLU(),
            MaxPool2d(2, stride=1),
            AvgPool2d(2, stride=1),
            Linear(3 * 2 * 3, 4, rng=2),
        )

    def step(net, images, labels):
        loss, optimizer = CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
        for _ in range(2):
            value = loss(net(images), labels)
            net.zero_grad()
            net.backward(loss.backward(), needs_input_grad=False)
            optimizer.step()
        return value

    images, labels = rng.standard_normal((4, 2, 8, 9)).astype(np.float32), rng.integers(0, 4, 4)
    with backstride.use_backend("numpy"):
        here = make()
        expected = step(here, images, labels)
    there, on_device, labels_there = make(), cupy.asarray(images), cupy.asarray(labels)
    step(there, on_device, labels_there)  # kernels are compiled at their first call
    there = make()
    with no_waiting():
        value = step(there, on_device, labels_there)
    np.testing.assert_allclose(value.get(), expected, rtol=1e-5)  # float32 sums of some hundred products
    for p, q in zip(there.parameters(), here.parameters(), strict=True):
        np.testing.assert_allclose(p.data.get(), q.data, rtol=0, atol=1e-5)
