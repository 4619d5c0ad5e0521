"""The command line, as its users meet it: in this process, as a process of its own, in a pipe, interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import backstride
from backstride import cli
from backstride.cli.digits import load_digits
from backstride.cli.digits_run import Run, network

pytest.importorskip("rich", reason="the command line shows its work with rich")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("safetensors", reason="weights are kept as safetensors")

BACKSTRIDE = [sys.executable, "-m", "backstride"]


@pytest.fixture(autouse=True)
def on_numpy(monkeypatch):
    """Whatever this machine has, and with the backend that was in force before each test put back after it."""
    monkeypatch.setenv("BACKSTRIDE_BACKEND", "numpy")
    monkeypatch.setattr(backstride.backend._switch, "_process", None)


def process(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 120, "encoding": "utf-8"} | options
    return subprocess.run([*BACKSTRIDE, *arguments], **options)


def refused(capsys, *arguments):
    """The error line of a command line that cannot be used; there is nothing else on either stream."""
    try:
        status = cli.main(arguments)
    except SystemExit as stopped:  # argparse's way
        status = stopped.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("backstride: error: ")
    assert err.count("\n") == 1
    return err


# --- the program


def test_help_names_every_command(capsys):
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert re.search(rf"^    {command} ", text, re.MULTILINE)
    assert "examples:" in text


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: backstride {command}")


def test_version_as_a_module():
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"backstride {backstride.__version__}\n")


def test_parsing_imports_nothing_heavy():
    heavy = ("rich", "matplotlib", "sklearn", "scipy", "torch", "cupy", "safetensors", "onnx", "threadpoolctl")
    code = f"import sys; from backstride import cli; cli._parser(); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--epochs", "0"], "argument --epochs: '0' is not an int of at least 1"),
        (["train", "--epochs", "2.5"], "argument --epochs: '2.5' is not an int of at least 1"),
        (["train", "--batch-size", "-3"], "argument --batch-size: '-3' is not an int of at least 1"),
        (["train", "--lr", "0"], "argument --lr: '0' is not a number above 0"),
        (["train", "--lr", "nan"], "argument --lr: 'nan' is not a number above 0"),
        (["train", "--seed", "-1"], "argument --seed: '-1' is not an int of at least 0"),
        (["train", "--save", "no/such/w.safetensors"], "argument --save: there is no folder no/such"),
        (["train", "--save", "."], "argument --save: . is a folder"),
        (["train", "--plot", "x.jpg"], "argument --plot: x.jpg should end in .png or .pdf or .svg"),
        (["train", "--resume", "no-such-file"], "argument --resume: no-such-file cannot be read: No such file"),
        (["train", "--backend", "tpu"], "argument --backend: invalid choice: 'tpu'"),
        (["explain", "--term", "conv.dx"], "argument --term: expected 2 arguments"),
        (["explain", "--term", "conv.dq", "0"], "no gradient 'conv.dq'; there are conv.dw (2, 3, 3, 2), conv.dx"),
        (["explain", "--term", "conv.dx", "0,3,0,0"], "conv.dx has no element 0,3,0,0; expected 4 indices, from"),
        (["explain", "--term", "conv.dx", "first"], "argument --term: 'first' is no index"),
        (["explain", "--markdown", "no/such/file.md"], "argument --markdown: there is no folder no/such"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file(capsys, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert "argument --save: . cannot be written: Permission denied" in refused(capsys, "train", "--save", "w")


def test_a_wrong_environment_variable(capsys, monkeypatch):
    monkeypatch.setenv("BACKSTRIDE_BACKEND", "tpu")
    for command in ("train", "explain", "info"):
        assert "BACKSTRIDE_BACKEND is 'tpu'; expected one of auto, numpy" in refused(capsys, command)


def test_a_backend_that_is_not_there(capsys):
    if backstride.backend.probe_cupy().failed is None:
        pytest.skip("CuPy works here")
    for command in ("train", "explain", "info"):
        assert "backend 'cupy' is unavailable: the" in refused(capsys, command, "--backend", "cupy")


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("rich", ["train"]),
        ("rich", ["explain"]),
        ("sklearn", ["train"]),
        ("safetensors", ["train", "--save", "w.safetensors"]),
        ("matplotlib", ["train", "--plot", "x.png"]),
    ],
)
def test_a_missing_extra_is_named(package, arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "backstride.cli.training_plot", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert f"needs the package '{package}'" in (line := refused(capsys, *arguments))
    assert "pip install 'backstride[cli]'" in line


def test_a_reader_that_leaves_early():
    """`backstride explain --term ... | head -1` ends quietly."""
    with subprocess.Popen(
        [*BACKSTRIDE, "explain", "--term", "conv.dw", "0,0,0,0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as head:
        assert head.stdout.read(1)
        head.stdout.close()
        assert head.stderr.read() == b""


# --- info


def test_info(capsys, monkeypatch):
    assert cli.main(["info"]) == 0
    lines = dict(re.findall(r"^(\S.*?)\s{2,}(.+)$", capsys.readouterr().out, re.MULTILINE))
    assert lines["backstride"] == backstride.__version__
    assert lines["numpy"] == np.__version__
    assert lines["backend"] == "numpy (BACKSTRIDE_BACKEND=numpy)"
    assert "cores for this process" in lines["processor"]
    assert {"cupy", "blas", "float32 products"} <= lines.keys()
    monkeypatch.delenv("BACKSTRIDE_BACKEND")
    assert cli.main(["info", "--backend", "numpy"]) == 0
    assert "numpy (--backend numpy)" in capsys.readouterr().out


def test_info_says_why_not_cupy(capsys, monkeypatch):
    probe = backstride.backend.Probe("device", "no driver", "install one")
    monkeypatch.setattr("backstride.cli.info.probe_cupy", lambda: probe)
    cli.main(["info"])
    out = capsys.readouterr().out
    assert "not used: the device probe failed: no driver" in out
    assert "to mend it: install one" in out


# --- explain


def test_explain_shows_every_shape_of_the_text(capsys):
    assert cli.main(["explain"]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    shapes = [(row[0], cell) for row in cells for cell in row[1:] if re.fullmatch(r"\([\d, ]+\)", cell)]
    assert shapes == [
        ("input", "(10, 3, 29, 28)"),
        ("kernel", "(2, 3, 3, 2)"),
        ("stride", "(2, 2)"),
        ("bias", "(2, 1, 1)"),
        ("output", "(10, 2, 14, 14)"),
        ("dY", "(10, 2, 14, 14)"),
        ("conv.dw", "(2, 3, 3, 2)"),
        ("conv.dx", "(10, 3, 29, 28)"),
        ("conv.db", "(2, 1, 1)"),
        ("input", "(10, 2, 14, 14)"),
        ("kernel", "(2, 2)"),
        ("stride", "(3, 3)"),
        ("output", "(10, 2, 5, 5)"),
        ("dY", "(10, 2, 5, 5)"),
        ("pool.dx", "(10, 2, 14, 14)"),
        ("input", "(10, 2, 5, 5)"),
        ("weight", "(32, 50)"),
        ("bias", "(32, 1)"),
        ("output", "(32, 10)"),
        ("dY", "(32, 10)"),
        ("linear.dw", "(32, 50)"),
        ("linear.dx", "(10, 2, 5, 5)"),
        ("linear.db", "(32, 1)"),
    ]
    measured = {row[0]: float(row[-1]) for row in cells if row and re.fullmatch(r"\w+\.d\w", row[0])}
    assert len(measured) == 7
    assert max(measured.values()) < 1e-11  # as in test_explain.py


def test_explain_in_a_narrow_pipe_loses_no_text():
    wide = process("explain", env=os.environ | {"COLUMNS": "200"}).stdout
    narrow = process("explain", env=os.environ | {"COLUMNS": "60"}).stdout
    assert max(map(len, narrow.splitlines())) <= 60
    assert "\x1b" not in wide + narrow
    assert "…" not in wide + narrow
    assert sorted("".join(wide.split()).replace("─", "")) == sorted("".join(narrow.split()).replace("─", ""))


def test_explain_where_the_terminal_cannot_write_a_sum_sign():
    done = process("explain", env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "dW[k,c,r,s] = ?_n,p,q" in " ".join(done.stdout.split())


def test_explain_as_a_document(capsys, tmp_path):
    assert cli.main(["explain", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Backpropagation")
    path = tmp_path / "explained.md"
    assert cli.main(["explain", "--markdown", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == text


def test_explain_one_term(capsys):
    assert cli.main(["explain", "--term", "conv.dx", "0,1,4,6"]) == 0
    head, *products, total, computed, difference = capsys.readouterr().out.splitlines()
    assert head == "conv.dx[0,1,4,6]: 4 products"
    values = []
    for line in products:
        name, factors, product = line.split("  =  ")
        assert re.fullmatch(r"dY\[0,\d,\d,3\] · W\[\d,1,\d,0\]", name)
        left, right = map(float, factors.split("×"))
        assert left * right == pytest.approx(float(product), abs=1e-6)  # the factors are shown to six digits
        values.append(float(product))
    assert any(values)
    assert float(total.split()[-1]) == pytest.approx(sum(values), abs=1e-6)
    assert float(computed.split()[-1]) == pytest.approx(float(total.split()[-1]), abs=1e-15)
    assert float(difference.split()[-1]) < 1e-15


def test_explain_of_an_element_no_window_reaches(capsys):
    """Column 2 lies between the pooling windows 0-1 and 3-4."""
    assert cli.main(["explain", "--term", "pool.dx", "0,0,0,2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pool.dx[0,0,0,2]: no products\n")
    assert "the kernel computed  0.0" in out


def test_explain_fails_where_a_gradient_is_wrong(capsys, monkeypatch):
    from backstride.layers import conv2d as layer

    def wrong(*arguments, **options):
        dx, dw, db = right(*arguments, **options)
        return dx, dw * 1.001, db

    right = layer.conv2d_grads
    monkeypatch.setattr(layer, "conv2d_grads", wrong)
    assert cli.main(["explain"]) == 1
    assert "disagrees with finite differences" in capsys.readouterr().err


# --- train


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
    started = time.perf_counter()
    assert cli.main(["train"]) == 0
    assert time.perf_counter() - started < 60
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


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot(suffix, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="draws with matplotlib")
    path = tmp_path / f"training.{suffix}"
    cli.main(["train", "--epochs", "1", "--batch-size", "200", "--plot", str(path)])
    assert str(path) in capsys.readouterr().out
    signature = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(signature)


def test_ctrl_c_saves_what_was_asked_and_says_where(tmp_path):
    path = tmp_path / "w.safetensors"
    options = ["--epochs", "100000", "--batch-size", "200"]
    with subprocess.Popen(
        [*BACKSTRIDE, "train", *options, "--save", str(path)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as training:
        while not training.stdout.readline().startswith("epoch 2/"):
            assert training.poll() is None
        training.send_signal(signal.SIGINT)
        out = training.communicate(timeout=60)[0]
    assert training.returncode == 130
    epochs = int(re.search(r"stopped by Ctrl-C after epoch (\d+) of 100000", out)[1])
    assert f"saved {path} (go on with --resume {path})" in out
    assert "test accuracy" in out
    assert len(Run.load(path).history) == epochs >= 2
    done = process("train", "--resume", str(path), "--epochs", str(epochs + 1))
    assert f"epoch {epochs + 1}/{epochs + 1}" in done.stdout
    assert done.returncode == 0
