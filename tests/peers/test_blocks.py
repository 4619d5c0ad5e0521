"""Residual blocks beside the same in plain torch.nn, in float64: values, gradients, statistics, steps of SGD."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.layers import AdaptiveAvgPool2d, CrossEntropyLoss, Linear, Sequential
from backstride.models.resnet import ResidualBlock
from backstride.optim import SGD

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the problems are tiny
    yield
    torch.set_num_threads(before)


class Block(nn.Module):
    """He et al.'s block, in torchvision's order and names."""

    def __init__(self, channels, stages):
        super().__init__()
        first, strides = channels, 1
        self.count = len(stages)
        for place, (out, kernel, stride) in enumerate(stages, 1):
            setattr(self, f"conv{place}", nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False))
            setattr(self, f"bn{place}", nn.BatchNorm2d(out))
            channels, strides = out, strides * stride
        self.downsample = None
        if strides != 1 or channels != first:
            self.downsample = nn.Sequential(
                nn.Conv2d(first, channels, 1, strides, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = x
        for place in range(1, self.count + 1):
            y = getattr(self, f"bn{place}")(getattr(self, f"conv{place}")(y))
            y = torch.relu(y) if place < self.count else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


BASIC, BOTTLENECK = [(6, 3, 1), (6, 3, 1)], [(4, 1, 1), (4, 3, 2), (16, 1, 1)]
STAGES = {"basic": BASIC, "basic, halved": [(8, 3, 2), (8, 3, 1)], "bottleneck": BOTTLENECK}


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("name", STAGES)
def test_values_gradients_and_steps(name, training, rng):
    """In evaluation the blocks stand in a network that trains: running statistics, and a backward."""
    stages = STAGES[name]
    torch.manual_seed(0)
    theirs = nn.Sequential(
        Block(6, stages), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stages[-1][0], 5)
    ).double()
    block = ResidualBlock(6, stages, "float64", np.random.default_rng(0))
    ours = Sequential(block, AdaptiveAvgPool2d(1), AdaptiveAvgPool2d(1), Linear(stages[-1][0], 5, dtype="float64"))
    for module in theirs[0].modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight), nn.init.normal_(module.running_mean), nn.init.uniform_(module.running_var)
    ours.load_state_dict(theirs.state_dict())
    theirs[0].train(training), ours[0].train(training)
    loss, optimizer = CrossEntropyLoss(), SGD(ours.parameters(), lr=0.05, momentum=0.9)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    for _ in range(4):
        x, labels = rng.standard_normal((4, 6, 7, 8)), rng.integers(0, 5, 4)
        tx = torch.from_numpy(x).requires_grad_()
        expected = nn.functional.cross_entropy(theirs(tx), torch.from_numpy(labels))
        value = loss(ours(x), labels)
        # float64 rounds to 1.1e-16; sums of some hundred products, through three normalisations
        assert float(value) == pytest.approx(expected.item(), rel=0, abs=1e-11)
        reference.zero_grad(), ours.zero_grad()
        expected.backward()
        found = {"x": ours.backward(loss.backward())} | {name: p.grad for name, p in ours.named_parameters()}
        for name, gradient in [("x", tx.grad), *((name, p.grad) for name, p in theirs.named_parameters())]:
            bound = 1e-10 * max(float(gradient.abs().max()), 1e-3)
            np.testing.assert_allclose(found[name].reshape(gradient.shape), gradient, rtol=0, atol=bound, err_msg=name)
        optimizer.step(), reference.step()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array, state[name], rtol=0, atol=1e-10, err_msg=name)
