"""`backstride train`: it learns, is repeatable, stops when told to, and loses nothing that it was asked to keep."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from commands import BACKSTRIDE, process, refused

import backstride
from backstride import cli
from backstride.cli.train.data import load_digits
from backstride.cli.train.run import Run
from backstride.cli.train.settings import Settings, network
from backstride.weights import read_weights

pytest.importorskip("rich", reason="the command line shows its work with rich")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
save_file = pytest.importorskip("safetensors.numpy", reason="weights are kept as safetensors").save_file

pytestmark = pytest.mark.usefixtures("on_numpy")


def test_the_digits_are_split_for_good():
    train, test = load_digits()
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape == (1437, 1, 8, 8)
    assert train.images.dtype == np.float32
    assert (train.images.min(), train.images.max()) == (0, 1)
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
    again, _ = load_digits()
    np.testing.assert_array_equal(again.images, train.images)
    # scikit-learn's own order, somewhere in ours: images and labels moved together
    from sklearn import datasets

    found = datasets.load_digits()
    pairs = zip(found.images, found.target, strict=True)
    labels = {(image / 16).astype(np.float32).tobytes(): label for image, label in pairs}
    assert [labels[image.tobytes()] for image in test.images] == test.labels.tolist()


def test_the_network_has_the_shape_of_the_text():
    conv, _, pool, linear = network(np.random.default_rng(0))
    height, width = conv.kernel_size
    assert height != width
    assert conv.options["stride"] == 2
    y = pool(conv(np.zeros((3, 1, 8, 8), np.float32)))
    assert linear(y).shape == (3, 10)


def test_train_reads_97_percent(capsys):
    """The promise of the README, with the default settings."""
    assert cli.main(["train"]) == 0
    out = capsys.readouterr().out
    accuracy = float(re.search(r"^test accuracy ([\d.]+)%", out, re.MULTILINE)[1])
    assert accuracy >= 97
    assert len(re.findall(r"^epoch \d+/20  loss ", out, re.MULTILINE)) == 20
    assert "\x1b" not in out


def test_a_loss_that_runs_away_is_told_in_words():
    done = process("train", "--epochs", "2", "--batch-size", "200", "--lr", "1e30")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a smaller --lr may help" in done.stdout


def test_same_seed_same_bits_also_across_a_break(tmp_path, capsys):
    whole, half, resumed, other = (tmp_path / f"{name}.safetensors" for name in ("whole", "half", "resumed", "other"))
    options = ["--batch-size", "100", "--lr", "0.1"]
    cli.main(["train", "--epochs", "3", "--seed", "5", *options, "--save", str(whole)])
    cli.main(["train", "--epochs", "1", "--seed", "5", *options, "--save", str(half)])
    cli.main(["train", "--epochs", "3", "--seed", "6", *options, "--save", str(other)])
    assert cli.main(["train", "--epochs", "3", "--resume", str(half), "--save", str(resumed)]) == 0
    assert whole.read_bytes() == resumed.read_bytes()  # weights, optimizer and history
    assert whole.read_bytes() != other.read_bytes()
    out = capsys.readouterr().out
    assert str(whole) in out
    assert len(Run.load(resumed).history) == 3


def test_what_was_saved_loads_as_weights(tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    cli.main(["train", "--epochs", "2", "--save", str(path)])
    net = network(np.random.default_rng(1))
    backstride.load_weights(net, path)
    _, test = load_digits()
    right = int((net(test.images).argmax(1) == test.labels).sum())
    assert f"({right} of 360 digits read right)" in capsys.readouterr().out


def test_resuming_with_what_does_not_fit(tmp_path, capsys):
    run, weights = tmp_path / "run.safetensors", tmp_path / "weights.safetensors"
    cli.main(["train", "--epochs", "1", "--batch-size", "500", "--save", str(run)])
    backstride.save_weights(network(np.random.default_rng(0)), weights)
    capsys.readouterr()
    assert "argument --seed: 3, but" in refused(capsys, "train", "--resume", str(run), "--seed", "3")
    assert "was begun with 500" in refused(capsys, "train", "--resume", str(run), "--batch-size", "50")
    assert "has 1 epochs already" in refused(capsys, "train", "--resume", str(run), "--epochs", "1")
    assert "it has weights and no training state" in refused(capsys, "train", "--resume", str(weights))
    weights.write_bytes(b"nothing of the kind")
    assert "no safetensors file, or is damaged" in refused(capsys, "train", "--resume", str(weights))


def damaged(path, kept, **changes):
    """A saved run with these fields of its training state changed, outer__inner=value; None takes the field away."""
    weights, metadata = read_weights(kept)
    training = json.loads(metadata["backstride train"])
    for field, value in changes.items():
        *outer, last = (int(name) if name.isdigit() else name for name in field.split("__"))
        place = training
        for name in outer:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    save_file(weights, path, {"backstride train": json.dumps(training)})


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    with backstride.use_backend("numpy"):
        run = Run(Settings(batch_size=500))
        run.epoch(lambda: None)
        run.save(path)
    return path


NEVER_RIGHT = [-5, "32", True, [32], {}]
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (field, value, expected)
        for field, more, expected in (
            ("settings__batch_size", [0, 32.5, NAN], "an int of at least 1"),
            ("settings__seed", [32.5, NAN], "an int of at least 0"),
            ("settings__lr", [0, NAN, INFINITY, 10**400], "a finite number above 0"),
            ("history__0__accuracy", [1.5, NAN], "a number from 0 to 1"),
            ("history__0__test_accuracy", [1.5, NAN], "a number from 0 to 1"),
            ("history__0__loss", [-INFINITY, 10**400], "a number of at least 0, or NaN"),
            ("history__0__test_loss", [-INFINITY], "a number of at least 0, or NaN"),
        )
        for value in (*NEVER_RIGHT, *more)
    ],
)
def test_a_wrong_field_of_a_saved_run(field, value, expected, saved_run, tmp_path, capsys):
    """H8"""
    path = tmp_path / "run.safetensors"
    damaged(path, saved_run, **{field: value})
    assert cli.main(["train", "--resume", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    name = field.replace("__0__", "[0].").replace("__", ".")
    assert err.startswith(f"backstride: error: {path}: training.{name} is ")
    assert err.endswith(f"; expected {expected}\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings__lr": None}, "training.settings.lr is missing"),
        ({"settings__momentum": 0.9}, "training.settings.momentum is unexpected"),
        ({"history": {}}, "training.history is {}; expected a list"),
        ({"history__0": "lost"}, "training.history[0] is 'lost'; expected an object with loss, accuracy"),
        ({"settings": None}, "training.settings is missing"),
        (
            {"settings__lr": 0, "history__0__loss": -1},
            "training.settings.lr is 0; expected a finite number above 0; train",
        ),
        ({"history": [0] * 12}, "training.history[9] is 0; expected an object with loss, accuracy, test_loss, test_ac"),
        ({"history": [0] * 12}, "; and 2 more"),
        ({"settings__shards": 3}, "training.settings.shards is 3; expected a power of two"),
        ({"epoch__batches": 4}, "training.epoch.batches is 4; expected at most 3, those of an epoch"),
        ({"epoch__batches": 2, "epoch__losses": []}, "training.epoch.losses is of 0 shards; expected 1"),
        ({"dropout": [[0, 0, 0]]}, "training.dropout is not the position of 0 layers"),
    ],
)
def test_all_that_is_wrong_with_a_saved_run_is_one_line(changes, message, saved_run, tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    damaged(path, saved_run, **changes)
    assert cli.main(["train", "--resume", str(path)]) == 1
    assert message in (err := capsys.readouterr().err)
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]", "NaN"])
def test_a_damaged_training_state(text, saved_run, tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    weights, _ = read_weights(saved_run)
    save_file(weights, path, {"backstride train": text})
    assert cli.main(["train", "--resume", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"backstride: error: {path}: ")
    assert err.count("\n") == 1


def test_a_wrong_optimizer_state_of_a_saved_run(saved_run, tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    weights, metadata = read_weights(saved_run)
    save_file(weights | {"optimizer.steps": np.array(np.nan)}, path, metadata)
    assert cli.main(["train", "--resume", str(path)]) == 1
    assert "steps is nan; expected a whole number of at least 0" in capsys.readouterr().err


def test_a_run_that_diverged_goes_on(saved_run, tmp_path):
    path = tmp_path / "run.safetensors"
    damaged(path, saved_run, history__0__loss=float("inf"), history__0__test_loss=float("nan"))
    assert Run.load(path).history[0].loss == float("inf")


def test_the_advice_to_go_on_works(tmp_path, capsys):
    """F10: a run that has all its epochs goes on with as many more."""
    path = tmp_path / "w.safetensors"
    assert cli.main(["train", "--epochs", "20", "--batch-size", "1000", "--save", str(path)]) == 0
    (advice,) = re.findall(r"go on with (.+)\)", capsys.readouterr().out)
    assert cli.main(["train", *advice.split()]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^epoch (\d+/\d+)", out, re.MULTILINE) == [f"{n}/40" for n in range(21, 41)]


@pytest.mark.parametrize("option", ["--save", "--plot"])
def test_a_full_disk(option, tmp_path):
    """H9, by the limit on a file's size, which fails as a full disk does."""
    if option == "--plot":
        pytest.importorskip("matplotlib", reason="draws with matplotlib")
    path = tmp_path / {"--save": "w.safetensors", "--plot": "w.png"}[option]
    path.write_bytes(b"old")
    limited = f"""
        import resource, sys
        import matplotlib.figure, matplotlib.font_manager  # which keeps a list of fonts on disk
        from backstride import cli
        sys.dont_write_bytecode = True  # which would be cut off too
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        sys.exit(cli.main(["train", "--epochs", "1", "--batch-size", "500", {option!r}, {str(path)!r}]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(limited)], capture_output=True, text=True, timeout=120, encoding="utf-8"
    )
    assert done.returncode == 1
    assert done.stderr == f"backstride: error: {path} cannot be written: File too large\n"
    assert "test accuracy" in done.stdout
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot(suffix, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="draws with matplotlib")
    path = tmp_path / f"training.{suffix}"
    cli.main(["train", "--epochs", "1", "--batch-size", "200", "--plot", str(path)])
    assert str(path) in capsys.readouterr().out
    signature = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(signature)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_saves_what_was_asked_and_says_where(number, name, tmp_path):
    """H16: SIGTERM, which a cluster sends before it kills, as Ctrl-C."""
    path = tmp_path / "w.safetensors"
    options = ["--epochs", "100000", "--batch-size", "200"]
    with subprocess.Popen(
        [*BACKSTRIDE, "train", *options, "--save", str(path)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as training:
        while not training.stdout.readline().startswith("epoch 2/"):
            assert training.poll() is None
        training.send_signal(number)
        out = training.communicate(timeout=60)[0]
    assert training.returncode == 128 + number
    epochs = int(re.search(rf"stopped by {name} after epoch (\d+) of 100000", out)[1])
    assert f"saved {path} (go on with --resume {path})" in out
    assert "test accuracy" in out
    assert len(Run.load(path).history) == epochs >= 2
    done = process("train", "--resume", str(path), "--epochs", str(epochs + 1))
    assert f"epoch {epochs + 1}/{epochs + 1}" in done.stdout
    assert done.returncode == 0


def test_a_signal_in_an_epoch(tmp_path):
    """With --save-every nothing waits for the end of an epoch, and what is gone on with has the uninterrupted bits."""
    path, whole = tmp_path / "w.safetensors", tmp_path / "whole.safetensors"
    options = ["--batch-size", "1", "--epochs", "1", "--lr", "1e-3"]
    with subprocess.Popen(
        [*BACKSTRIDE, "train", *options, "--save", str(path), "--save-every", "100"],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as training:
        while not path.exists():
            assert training.poll() is None
            time.sleep(0.01)
        training.send_signal(signal.SIGTERM)
        out = training.communicate(timeout=60)[0]
    assert training.returncode == 128 + signal.SIGTERM
    step = int(re.search(r"stopped by SIGTERM after step (\d+) of 1437 of epoch 1", out)[1])
    assert Run.load(path).batch == step >= 100
    assert process("train", "--resume", str(path), "--epochs", "1", "--save", str(path)).returncode == 0
    assert process("train", *options, "--save", str(whole)).returncode == 0
    assert path.read_bytes() == whole.read_bytes()


def test_saving_often_needs_a_place(capsys):
    assert "argument --save-every: there is no --save" in refused(capsys, "train", "--save-every", "3")


def test_training_in_a_thread_leaves_signals_alone():
    """Only the main thread can handle signals; a program may train in another."""
    before = signal.getsignal(signal.SIGTERM)
    status = []
    thread = threading.Thread(target=lambda: status.append(cli.main(["train", "--epochs", "1", "--batch-size", "500"])))
    thread.start()
    thread.join()
    assert status == [0]
    assert signal.getsignal(signal.SIGTERM) is before
