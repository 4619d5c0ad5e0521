"""What the README says to type works: its Python runs, and its commands are commands."""

from __future__ import annotations

import numpy as np
import pytest
import shown

from backstride import load_weights

README = shown.page("README.md")
(TRAINING,) = shown.python(README)
COMMANDS = shown.commands(README)


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


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown.assert_is_a_command(line, tmp_path)


def test_there_are_commands():
    assert len(COMMANDS) > 8
