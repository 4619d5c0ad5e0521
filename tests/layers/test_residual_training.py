"""Blocks, branches and normalisation on CUDA: the steps of NumPy, without waiting, and replays with the eager bits."""

from __future__ import annotations

import numpy as np
import pytest
from cupys import emulated, no_waiting, real

import backstride
from backstride.layers import AdaptiveAvgPool2d, Concatenate, Conv2d, CrossEntropyLoss, Identity, Linear, Sequential
from backstride.models.resnet import ResidualBlock
from backstride.optim import SGD


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


class Training:
    def __init__(self):
        self.net = Sequential(
            ResidualBlock(2, [(3, 3, 2), (3, 3, 1)], "float32", np.random.default_rng(0)),
            Concatenate(Identity(), Conv2d(3, 2, 1, rng=1)),
            AdaptiveAvgPool2d(1),
            Linear(5, 3, rng=2),
        )
        self.loss, self.optimizer = CrossEntropyLoss(), SGD(self.net.parameters(), lr=0.1, momentum=0.9)

    def step(self, images, labels):
        value = self.loss(self.net(images), labels)
        self.net.zero_grad()
        self.net.backward(self.loss.backward(), needs_input_grad=False)
        self.optimizer.step()
        return value


def test_steps_are_numpys_and_replays_are_steps(cupy, rng):
    with backstride.use_backend("numpy"):
        reference = Training()
    eager, captured = Training(), Training()
    step = backstride.capture(captured.step)
    for _ in range(3):
        images, labels = rng.standard_normal((4, 2, 6, 5)).astype(np.float32), rng.integers(0, 3, 4)
        on_device = cupy.asarray(images), cupy.asarray(labels)
        with no_waiting():
            value = eager.step(*on_device)
        assert step(*on_device).get().tobytes() == value.get().tobytes()
        # float32 rounds to 6e-8; sums of some ten products, normalised by deviations of about 0.1
        np.testing.assert_allclose(value.get(), reference.step(images, labels), rtol=0, atol=2e-5)
    for name, array in eager.net.state_dict().items():
        assert array.get().tobytes() == captured.net.state_dict()[name].get().tobytes(), name
        np.testing.assert_allclose(array.get(), reference.net.state_dict()[name], rtol=0, atol=1e-4, err_msg=name)

    folded, images = backstride.fold(eager.net), cupy.asarray(images)
    with no_waiting():
        y = folded(images)
    np.testing.assert_allclose(y.get(), eager.net.eval()(images).get(), rtol=0, atol=2e-5)
    assert isinstance(eager.net.to("numpy").state_dict()["0.bn1.running_mean"], np.ndarray)
