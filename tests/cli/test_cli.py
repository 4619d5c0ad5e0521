"""The command line, as its users meet it: in this process, as a process of its own, in a pipe, interrupted."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import BACKSTRIDE, process, refused

import backstride
from backstride import cli

pytest.importorskip("rich", reason="the command line shows its work with rich")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
pytest.importorskip("safetensors", reason="weights are kept as safetensors")

pytestmark = pytest.mark.usefixtures("on_numpy")


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
        (["train", "--save", "w.npz"], "argument --save: w.npz should end in .safetensors"),
        (["bench", "--plot", "x.gif"], "argument --plot: x.gif should end in .png"),
        (["train", "--save", "w" * 300], "cannot be written: File name too long"),
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
    for command in ("train", "explain"):
        assert "BACKSTRIDE_BACKEND is 'tpu'; expected one of auto, numpy" in refused(capsys, command)
    monkeypatch.setattr(backstride.precision._switch, "_process", None)
    monkeypatch.setenv("BACKSTRIDE_FLOAT32_PRECISION", "exact")
    for command in (["check", "--backend", "numpy"], ["plan", "--x", "1,1,1,1"]):
        assert "BACKSTRIDE_FLOAT32_PRECISION is 'exact'; expected one of auto, ieee" in refused(capsys, *command)


def test_empty_environment_variables_are_unset_ones(capsys, monkeypatch):
    for variable in ("BACKSTRIDE_BACKEND", "BACKSTRIDE_FLOAT32_PRECISION", "BACKSTRIDE_CACHE_DIR"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(backstride.precision._switch, "_process", None)
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert "BACKSTRIDE_BACKEND is not set: auto" in out
    assert re.search(r"^float32 products +auto$", out, re.MULTILINE)
    assert re.search(r"^compiled ahead .*/\.cache/backstride$", out, re.MULTILINE)


def test_a_backend_that_is_not_there(capsys):
    if backstride.backend.probe_cupy().failed is None:
        pytest.skip("CuPy works here")
    for command in ("train", "explain"):
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
    monkeypatch.delitem(sys.modules, "backstride.cli.train.plot", raising=False)
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


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BACKSTRIDE_BACKEND", "tpu", "BACKSTRIDE_BACKEND is 'tpu'; expected one of"),
        ("BACKSTRIDE_BACKEND", "cupy", "backend 'cupy' is unavailable: the device probe failed (no driver)"),
        ("BACKSTRIDE_FLOAT32_PRECISION", "exact", "BACKSTRIDE_FLOAT32_PRECISION is 'exact'; expected one of"),
    ],
)
def test_info_tells_all_it_can_where_what_is_asked_for_cannot_be(variable, value, message, capsys, monkeypatch):
    probe = backstride.backend.Probe("device", "no driver", "install one")
    for module in ("backstride.backend", "backstride.cli.info"):
        monkeypatch.setattr(f"{module}.probe_cupy", lambda: probe)
    monkeypatch.setattr(backstride.precision._switch, "_process", None)
    monkeypatch.setenv(variable, value)
    assert cli.main(["info"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("backstride: error: ")
    assert message in err
    assert err.count("\n") == 1
    for label in ("backstride", "python", "numpy", "backend", "cupy", "processor", "blas", "float32 products"):
        assert re.search(rf"^{label}  ", out, re.MULTILINE)
    assert re.search(r"^(backend|float32 products) +none", out, re.MULTILINE)


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


def test_a_full_disk_is_one_line_and_status_1(capfd):
    """H9"""
    assert cli.main(["explain", "--markdown", "/dev/full"]) == 1
    assert capfd.readouterr() == ("", "backstride: error: /dev/full cannot be written: No space left on device\n")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = process("info", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr == "backstride: error: [Errno 28] No space left on device\n"


def test_a_document_into_a_pipe(tmp_path):
    """As `backstride explain --markdown >(less)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([*BACKSTRIDE, "explain", "--markdown", str(pipe)], stdout=subprocess.PIPE) as explaining:
        assert pipe.read_text(encoding="utf-8").startswith("# Backpropagation")
        explaining.communicate(timeout=60)
    assert explaining.returncode == 0
    assert pipe.is_fifo()


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
    assert out.startswith("pool.dx[0,0,0,2]: no products: no window covers it\n")
    assert "the kernel computed  0.0" in out


def test_explain_of_an_element_that_another_one_won_over(capsys):
    assert cli.main(["explain", "--term", "pool.dx", "0,0,0,0"]) == 0
    expected = "pool.dx[0,0,0,0]: no products: window 0,0 covers it, but its maximum stands elsewhere\n"
    assert capsys.readouterr().out.startswith(expected)


def test_explain_fails_where_a_gradient_is_wrong(capsys, monkeypatch):
    from backstride.kernels.conv import checked

    def wrong(*arguments, **options):
        dx, dw, db = right(*arguments, **options)
        return dx, dw * 1.001, db

    right = checked.grads
    monkeypatch.setattr(checked, "grads", wrong)
    assert cli.main(["explain"]) == 1
    assert "disagrees with finite differences" in capsys.readouterr().err
