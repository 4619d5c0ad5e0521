"""What the README says to type works: its Python runs, and its commands are commands."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from backstride import cli, kernels, load_weights

TREE = Path(os.environ.get("BACKSTRIDE_TREE", Path(__file__).parents[2]))
README = (TREE / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^backstride .*", README, re.MULTILINE)


def test_the_training_loop_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    batches = [(rng.random((4, 1, 8, 8)), rng.integers(0, 10, 4)) for _ in range(2)]
    names = {"batches": batches}
    exec(PYTHON[0], names)
    assert np.isfinite(float(names["value"]))
    weights = [parameter.data.copy() for parameter in names["net"].parameters()]
    load_weights(names["net"], "net.safetensors")
    for before, after in zip(weights, names["net"].parameters(), strict=True):
        np.testing.assert_array_equal(before, after.data)


def test_the_kernel_of_ones_own_is_right_and_declines(rng):
    names = {}
    exec(PYTHON[1], names)
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


def test_there_are_examples():
    assert len(PYTHON) == 2
    assert len(COMMANDS) > 8
