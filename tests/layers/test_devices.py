"""G6: everything is made on the device of the arrays that it is made from, also where another one is current."""

from __future__ import annotations

import numpy as np
import pytest
from cupys import emulated, real

import backstride
from backstride import optim
from backstride.layers import AvgPool2d, Conv2d, CrossEntropyLoss, Flatten, Linear, MaxPool2d, ReLU, Sequential


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        if module.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("needs two devices")
        yield module


def network():
    return Sequential(
        Conv2d(2, 3, 2, rng=1), ReLU(), MaxPool2d(2, stride=1), AvgPool2d(2), Flatten(), Linear(12, 4, rng=2)
    )


def trained(cupy, rule, inside, outside):
    """State after two steps of a network on device `inside` while `outside` is current, as NumPy arrays."""
    rng = np.random.default_rng(0)
    with cupy.cuda.Device(inside):
        net = network()
        x, labels = cupy.asarray(rng.standard_normal((3, 2, 6, 6), np.float32)), cupy.asarray(np.array([0, 3, 1]))
    with cupy.cuda.Device(outside):
        loss, optimizer = CrossEntropyLoss(), rule(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.lr = 0.2
            value = loss(net(x), labels)
            net.zero_grad()
            dx = net.backward(loss.backward())
            optimizer.step()
        net.load_state_dict(net.state_dict())
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()
        arrays = {"loss": value, "dx": dx, **net.state_dict(), **optimizer.state_dict()}
    assert {array.device.id for array in arrays.values()} == {inside}
    assert optimizer.steps == 2
    return {name: backstride.to_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_g6_a_step_on_a_device_that_is_not_current(cupy, rule):
    expected, found = trained(cupy, rule, 0, 0), trained(cupy, rule, 1, 0)
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def test_g6_parameters_on_two_devices(cupy):
    def step(devices):
        layers = []
        for seed, device in enumerate(devices):
            with cupy.cuda.Device(device):
                layers.append(Linear(3, 2, rng=seed))
                for p in layers[-1].parameters():
                    p.add_grad(1)
        parameters = [p for layer in layers for p in layer.parameters()]
        optim.AdamW(parameters, lr=0.1).step()
        return [backstride.to_numpy(p.data).tobytes() for p in parameters]

    assert step((0, 1)) == step((0, 0))


def test_g6_a_captured_step_on_a_device_that_is_not_current(cupy):
    with cupy.cuda.Device(1):
        x = cupy.zeros((2, 3), np.float32)
    net = ReLU()
    step = backstride.capture(lambda x: net(x + 1))
    for _ in range(3):
        y = step(x)
        assert y.device.id == 1
        assert backstride.to_numpy(y).tolist() == [[1.0] * 3] * 2
