"""What the README says to type works: its Python runs, and its commands are commands."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from backstride import cli, kernels, load_weights
from backstride.layers import CrossEntropyLoss
from backstride.optim import SGD

TREE = Path(os.environ.get("BACKSTRIDE_TREE", Path(__file__).parents[2]))
README = (TREE / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TRAINING, BLOCK, TORCH, KERNEL = PYTHON
COMMANDS = re.findall(r"^backstride .*", README, re.MULTILINE)


def test_the_training_loop_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    batches = [(rng.random((4, 1, 8, 8)), rng.integers(0, 10, 4)) for _ in range(2)]
    names = {"batches": batches}
    exec(TRAINING, names)
    assert np.isfinite(float(names["value"]))
    weights = [parameter.data.copy() for parameter in names["net"].parameters()]
    load_weights(names["net"], "net.safetensors")
    for before, after in zip(weights, names["net"].parameters(), strict=True):
        np.testing.assert_array_equal(before, after.data)


def test_the_block_trains(rng):
    names = {}
    exec(BLOCK, names)
    net, loss = names["net"], CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    labels = np.arange(32) % 2  # of stripes along one axis or the other
    stripes = np.broadcast_to(np.arange(8) % 2, (8, 8))
    images = np.where(labels.reshape(32, 1, 1, 1), stripes, stripes.T).astype(np.float32)
    for _ in range(10):
        value = loss(net(images), labels)
        net.zero_grad()
        net.backward(loss.backward(), needs_input_grad=False)
        optimizer.step()
    assert value < 0.1
    assert "1.bn.running_mean" in net.state_dict()


def test_a_pytorch_model_is_converted(torch):
    names = {}
    exec(TORCH, names)
    assert all(p.grad is not None for p in names["model"].parameters())
    assert type(names["model"][0]) is torch.nn.Conv2d


def test_the_kernel_of_ones_own_is_right_and_declines(rng):
    names = {}
    exec(KERNEL, names)
    x, w, b = rng.integers(-4, 5, (2, 3, 5, 4)) * 1.0, rng.integers(-4, 5, (6, 3, 1, 1)) * 1.0, np.arange(6.0)
    np.testing.assert_array_equal(names["conv2d"](x, w, b), kernels.conv2d(x, w, b))
    with pytest.raises(NotImplementedError):
        names["conv2d"](x, np.ones((6, 3, 2, 2)))


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("before.json", "after.json", "net.shapes"):  # which a line before has written
        Path(file).touch()
    _, *words = shlex.split(line, comments=True)
    assert cli._parser().parse_args(words).command == words[0]


def test_there_are_commands():
    assert len(COMMANDS) > 8
