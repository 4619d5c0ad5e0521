"""Networks on disk: what was saved comes back, nothing is half-loaded, nothing is half-written."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from accuracy import dtype_of

import backstride
from backstride import _extras, load_weights, save_weights
from backstride.layers import Conv2d, Layer, Linear, Parameter, ReLU, Sequential
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


def test_pytorch_reads_it_and_writes_it(tmp_path, torch):
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
        p.add_grad(1)
    optimizer.step()
    save_weights(net, path, optimizer=optimizer)
    load_weights(other, path, optimizer=resumed)
    assert resumed.steps == 1
    for p, q in zip(other.parameters(), net.parameters(), strict=True):
        p.grad = q.grad.copy()
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


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    """What else may happen on the way is in test_files.py."""
    path = tmp_path / "net.safetensors"
    save_weights(network(0), path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*net\.safetensors"):
        save_weights(network(1), path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    loaded = network(2)
    load_weights(loaded, path)
    assert_same(loaded, network(0))


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


@pytest.mark.parametrize(
    "start",
    [b"", b"\0" * 8, b"\xff" * 8, struct.pack("<Q", 2**40), struct.pack("<Q", 2) + b"[]", b"\1" + b"\0" * 7 + b"{"],
)
def test_damaged_headers(start, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=r"net\.safetensors is no safetensors file, or is damaged"):
        load_weights(network(), path)


def test_no_damage_is_met_halfway(tmp_path, rng):
    """Whatever is changed or cut off: a ValueError and the net as it was, or a file that is right as it is."""
    path, net = tmp_path / "net.safetensors", network(0)
    optimizer = Adam(net.parameters())
    save_weights(net, path, optimizer=optimizer)
    whole = path.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        if rng.integers(2):
            damaged = damaged[: rng.integers(len(whole))]
        else:
            damaged[rng.integers(header)] = rng.integers(256)
        path.write_bytes(damaged)
        before = net.state_dict()
        try:
            load_weights(net, path, optimizer=optimizer)
        except ValueError:
            refused += 1
            for name, array in net.state_dict().items():
                np.testing.assert_array_equal(array, before[name])
    assert refused > 180


def write_header(path, dtypes):
    """A safetensors file with an array of two elements of each of these dtypes."""
    header, at = {}, 0
    for name, (dtype, bits) in dtypes.items():
        header[name] = {"dtype": dtype, "shape": [2], "data_offsets": [at, at := at + 2 * bits // 8]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def test_dtypes_that_numpy_lacks_are_named(tmp_path):
    """H10"""
    path = tmp_path / "net.safetensors"
    write_header(path, {"0.weight": ("F8_E4M3", 8), "0.bias": ("F32", 32), "2.weight": ("F8_E5M2", 8)})
    with pytest.raises(
        ValueError, match=r"net\.safetensors: 0\.weight has dtype F8_E4M3, 2\.weight has dtype F8_E5M2; expected .*F32"
    ):
        load_weights(network(), path)


def test_bfloat16_in_a_program_that_did_not_import_it(tmp_path):
    dtype_of("bfloat16")
    path = tmp_path / "net.safetensors"
    write_header(path, {"bias": ("BF16", 16)})
    code = f"""
        import sys
        import numpy
        from backstride.weights import read_weights
        assert "ml_dtypes" not in sys.modules
        print(read_weights({str(path)!r})[0]["bias"].dtype)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "bfloat16\n"


def test_bfloat16_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    """F15"""
    path = tmp_path / "net.safetensors"
    write_header(path, {"bias": ("BF16", 16)})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    message = r"bfloat16 needs the package 'ml_dtypes': pip install 'backstride\[bfloat16\]'"
    for uses in (
        lambda: load_weights(network(), path),
        lambda: Linear(2, 2, dtype="bfloat16"),
        lambda: backstride.asarray([1.0], "bfloat16"),
    ):
        with pytest.raises(_extras.MissingExtraError, match=message):
            uses()


@pytest.mark.parametrize("start", [b"PK\3\4", b"\x80\2}q"])
def test_a_pickle_is_told_from_a_damaged_file(start, tmp_path):
    """F19"""
    path = tmp_path / "net.pth"
    path.write_bytes(start + bytes(100))
    with pytest.raises(ValueError, match=r"net\.pth is no safetensors file.*torch\.load\(path, weights_only=True\)"):
        load_weights(network(), path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no regular file"):
        load_weights(network(), tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        load_weights(network(), tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", np.nan, "steps is nan; expected a whole number of at least 0"),
        ("steps", np.inf, "steps is inf; expected"),
        ("steps", -1, "steps is -1; expected"),
        ("steps", 1.5, "steps is 1.5; expected"),
        ("steps", 1e19, "steps is 1e\\+19; expected"),
        ("steps", True, "steps has dtype bool; expected real numbers"),
        ("1.mean", np.complex64(1j), "1.mean has dtype C64; expected one of"),
        ("1.square", -1.0, r"1.square is \[\[.*; expected no number below 0"),
    ],
)
def test_nothing_is_loaded_where_the_optimizers_state_is_wrong(name, value, message, tmp_path):
    """H7, and every other value that an optimizer would compute nonsense from."""
    path, saved = tmp_path / "run.safetensors", network(1)
    optimizer = Adam(saved.parameters())
    state = optimizer.state_dict()
    state[name] = np.full(state[name].shape, value)
    optimizer.state_dict = lambda: state
    save_weights(saved, path, optimizer=optimizer)
    net = network(0)
    resumed = Adam(net.parameters())
    with pytest.raises(ValueError, match=message):
        load_weights(net, path, optimizer=resumed)
    assert_same(net, network(0))
    assert resumed.steps == 0


def test_all_that_is_wrong_is_in_one_message(tmp_path):
    path, saved = tmp_path / "run.safetensors", Sequential(Conv2d(3, 2, (3, 2), rng=1), ReLU(), Linear(8, 5, rng=1))
    save_weights(saved, path, optimizer=SGD(saved.parameters(), lr=1))
    net = network()
    with pytest.raises(ValueError, match=r"2\.weight has shape") as info:
        load_weights(net, path, optimizer=Adam(net.parameters()))
    for told in ("2.bias has shape (5,); expected (4,)", "0.mean is missing", "3.square is missing"):
        assert told in str(info.value)


def test_values_out_of_range_change_nothing(tmp_path):
    path, saved = tmp_path / "net.safetensors", network(1, "float64")
    saved[2].bias.data[0] = 1e300
    save_weights(saved, path)
    net = network(0)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        load_weights(net, path)
    assert_same(net, network(0))


class WithLayerCalledOptimizer(Layer):
    """Its state has the very names that an optimizer's has: optimizer.steps, optimizer.0.momentum."""

    class Inner(Layer):
        def __init__(self, seed):
            self.steps = Parameter(np.full((), seed, np.float64))
            self.inner = WithLayerCalledOptimizer.Innermost(seed)

        def children(self):
            yield "0", self.inner

    class Innermost(Layer):
        def __init__(self, seed):
            self.momentum = Parameter(np.full(3, seed, np.float64))

    def __init__(self, seed):
        self.optimizer = WithLayerCalledOptimizer.Inner(seed)

    def children(self):
        yield "optimizer", self.optimizer


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_a_layer_called_optimizer(with_optimizer, tmp_path):
    """H11"""
    path, net, other = tmp_path / "net.safetensors", WithLayerCalledOptimizer(1), WithLayerCalledOptimizer(2)
    optimizer, resumed = (SGD(n.parameters(), lr=1, momentum=0.5) for n in (net, other))
    for p in net.parameters():
        p.add_grad(1)
    optimizer.step()
    save_weights(net, path, optimizer=optimizer if with_optimizer else None)
    load_weights(other, path, optimizer=resumed if with_optimizer else None)
    assert_same(net, other)
    load_weights(other, path)
    assert_same(net, other)
    assert resumed.steps == (1 if with_optimizer else 0)


FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_files_of_0_1_load(rule):
    """Written by 0.1.0 after three steps; the values beside them were printed by it."""
    expected = json.loads((FIXTURES / f"0.1-{rule}.json").read_text(encoding="utf-8"))
    net = network()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9) if rule == "sgd" else Adam(net.parameters(), lr=0.1)
    metadata = load_weights(net, FIXTURES / f"0.1-{rule}.safetensors", optimizer=optimizer)
    assert metadata == {"made by": "0.1.0"}
    assert optimizer.steps == 3
    expected["optimizer"]["counts"] = [3] * 4  # not in the file: every parameter took all steps
    for found, kept in ((net.state_dict(), expected["net"]), (optimizer.state_dict(), expected["optimizer"])):
        assert found.keys() == kept.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, np.array(kept[name], array.dtype))


def test_without_safetensors_the_message_says_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(_extras.MissingExtraError, match=r"save_weights needs .*pip install 'backstride\[cli\]'"):
        save_weights(network(), tmp_path / "net.safetensors")
    with pytest.raises(ImportError, match=r"load_weights needs the package 'safetensors'"):
        load_weights(network(), tmp_path / "net.safetensors")
