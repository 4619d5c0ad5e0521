"""Networks on disk: what was saved comes back, nothing is half-loaded, nothing is half-written."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from accuracy import dtype_of

from backstride import _extras, load_weights, save_weights
from backstride.layers import Conv2d, Linear, ReLU, Sequential
from backstride.optim import SGD, Adam

pytest.importorskip("safetensors", reason="weights are kept as safetensors")


def network(seed=0, dtype="float32"):
    return Sequential(Conv2d(3, 2, (3, 2), dtype=dtype, rng=seed), ReLU(), Linear(8, 4, dtype=dtype, rng=seed))


def assert_same(one, other):
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_round_trip(dtype, tmp_path):
    dtype_of(dtype)
    path = tmp_path / "net.safetensors"
    net, other = network(0, dtype), network(1, dtype)
    save_weights(net, path, metadata={"epoch": "3"})
    assert load_weights(other, str(path)) == {"epoch": "3"}
    assert_same(net, other)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_pytorch_reads_it_and_writes_it(tmp_path):
    torch = pytest.importorskip("torch", reason="reads and writes the file with PyTorch")
    from safetensors.torch import load_file, save_file

    net, path = network(), tmp_path / "net.safetensors"
    twin = torch.nn.Sequential(torch.nn.Conv2d(3, 2, (3, 2)), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    save_weights(net, path)
    twin.load_state_dict(load_file(path))
    np.testing.assert_array_equal(twin[0].weight.detach(), net[0].weight.data)
    with torch.no_grad():
        twin[2].bias.add_(1)
    save_file(twin.state_dict(), path)
    assert load_weights(net, path) == {}
    np.testing.assert_array_equal(net[2].bias.data, twin[2].bias.detach())


def test_optimizer_state_travels_with_the_weights(tmp_path):
    path = tmp_path / "run.safetensors"
    net, other = network(0), network(1)
    optimizer, resumed = Adam(net.parameters()), Adam(other.parameters())
    for p in net.parameters():
        p.grad[...] = 1
    optimizer.step()
    save_weights(net, path, optimizer=optimizer)
    load_weights(other, path, optimizer=resumed)
    assert resumed.steps == 1
    for p, q in zip(other.parameters(), net.parameters(), strict=True):
        p.grad[...] = q.grad
    optimizer.step()
    resumed.step()
    assert_same(net, other)
    third = network(2)
    save_weights(net, path, optimizer=optimizer)
    load_weights(third, path)  # the weights alone, of the same file
    assert_same(net, third)


def test_everything_wrong_is_listed_and_nothing_loaded(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(Sequential(Conv2d(3, 5, (3, 2), rng=0), ReLU(), ReLU(), Linear(8, 4)), path)
    net = network()
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"net\.safetensors.*nothing was loaded") as info:
        load_weights(net, path)
    for told in ("0.weight has shape (5, 3, 3, 2)", "2.weight is missing", "3.bias is unexpected"):
        assert told in str(info.value)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("wrong", ["weights", "optimizer"])
def test_neither_half_is_loaded_without_the_other(wrong, tmp_path):
    path, saved = tmp_path / "run.safetensors", network(1)
    if wrong == "weights":
        saved = Sequential(Conv2d(3, 2, (3, 2), rng=1), ReLU(), Linear(8, 5, rng=1))
    made_by = Adam if wrong == "optimizer" else SGD
    save_weights(saved, path, optimizer=made_by(saved.parameters(), lr=1))
    net = network(0)
    optimizer = SGD(net.parameters(), lr=1)
    optimizer.steps = 5
    with pytest.raises(ValueError, match="nothing was loaded"):
        load_weights(net, path, optimizer=optimizer)
    assert_same(net, network(0))
    assert optimizer.steps == 5


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_while_saving_leaves_the_old_file(moment, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save_weights(network(0), path)

    def crash(*_):
        raise KeyboardInterrupt

    if moment == "write":
        monkeypatch.setattr("builtins.open", _open_that_fails_to_write)
    else:
        monkeypatch.setattr(os, moment, crash)
    with pytest.raises(KeyboardInterrupt):
        save_weights(network(1), path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    loaded = network(2)
    load_weights(loaded, path)
    assert_same(loaded, network(0))


def _open_that_fails_to_write(path, mode):
    import io

    file = io.open(path, mode)  # noqa: UP020, SIM115 - builtins.open is what is replaced

    class Failing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            file.close()

        def write(self, data):
            file.write(data[: len(data) // 2])
            raise KeyboardInterrupt

    return Failing()


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "run-7.safetensors", tmp_path / "latest.safetensors"
    save_weights(network(0), target)
    link.symlink_to(target)
    save_weights(network(1), link)
    assert link.is_symlink()
    loaded = network(2)
    load_weights(loaded, target)
    assert_same(loaded, network(1))


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match=r"net\.safetensors"):
        load_weights(network(), path)
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"net\.safetensors is no safetensors file, or is damaged"):
        load_weights(network(), path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="no safetensors file"):
        load_weights(network(), path)
    with pytest.raises(FileNotFoundError):
        save_weights(network(), tmp_path / "no such folder" / "net.safetensors")


def test_without_safetensors_the_message_says_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(_extras.MissingExtraError, match=r"save_weights needs .*pip install 'backstride\[cli\]'"):
        save_weights(network(), tmp_path / "net.safetensors")
    with pytest.raises(ImportError, match=r"load_weights needs the package 'safetensors'"):
        load_weights(network(), tmp_path / "net.safetensors")
