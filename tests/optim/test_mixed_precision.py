"""A network in 16 bits, with a loss scale, beside the same in float32."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import dtype_of
from cupys import emulated, real

from backstride import asarray
from backstride.layers import Conv2d, CrossEntropyLoss, Linear, MaxPool2d, ReLU, Sequential
from backstride.optim import SGD, GradScaler


class Training:
    def __init__(self, dtype, weights=None):
        self.net = Sequential(
            Conv2d(1, 4, 3, dtype=dtype, rng=1), ReLU(), MaxPool2d(2), Linear(4 * 3 * 3, 3, dtype=dtype, rng=2)
        )
        self.loss, self.optimizer = CrossEntropyLoss(), SGD(self.net.parameters(), lr=0.2, momentum=0.9)
        self.scaler = GradScaler(init_scale=2.0**30)

    def step(self, images, labels):
        value = self.loss(self.net(images), labels)
        self.net.zero_grad()
        self.net.backward(self.scaler.scale(self.loss.backward()), needs_input_grad=False)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(value)


def compare(dtype, rng):
    """Ten steps once the scale has settled: none is left out, and the losses are those of float32 but for roundings."""
    images, labels = rng.standard_normal((8, 1, 8, 8)).astype(dtype), asarray(rng.integers(0, 3, 8))
    exact, rounded = Training("float32"), Training(dtype)
    exact.net.load_state_dict(rounded.net.state_dict())
    settling = 0
    while rounded.optimizer.steps == 0:
        rounded.step(asarray(images), labels)
        settling += 1
    assert dtype != np.float16 or settling > 5, "nothing overflowed"
    wide = asarray(images.astype(np.float32))
    exact.step(wide, labels)
    losses = [(exact.step(wide, labels), rounded.step(asarray(images), labels)) for _ in range(10)]
    assert rounded.optimizer.steps == 11
    expected, found = np.array(losses).T
    assert expected[-1] < expected[0] / 2
    # weights, activations and gradients are rounded in each of two layers, and later losses follow from those before
    np.testing.assert_allclose(found, expected, rtol=0, atol=8 * {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype.name])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_on_numpy(dtype, rng):
    compare(dtype_of(dtype), rng)


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_on_cupy(dtype, cupy, rng):
    compare(dtype_of(dtype), rng)
