"""What the package says unasked: through the logger "backstride", silent in a library, on stderr of a command."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from pathlib import Path

import pytest

import backstride
from backstride._notices import logger
from backstride.cli import main
from backstride.kernels.cuda.runtime import gpus

PACKAGE = Path(backstride.__file__).parent
NOTICE = "from backstride.kernels.cuda.runtime.gpus import compute_capability; compute_capability(135)"
PLAN = "plan linear --x 256,512 --w 300,512 --sm 135".split()


@pytest.fixture(autouse=True)
def unsaid(monkeypatch):
    monkeypatch.setattr("backstride.kernels.cuda.runtime.nvrtc.architectures", lambda: (135,))
    gpus.compute_capability.cache_clear()
    yield
    gpus.compute_capability.cache_clear()


def speaks(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "print"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in {("warnings", "warn"), ("sys", "stderr"), ("sys", "stdout")}
    return False


def test_the_library_has_no_other_channel():
    programs = ("tests", "build", "cli", "ci", "launch_cost.py", "simulate.py")
    programs += ("mpi.py",)  # a process that ends its job says which it was
    library = [file for file in PACKAGE.rglob("*.py") if not set(programs) & set(file.relative_to(PACKAGE).parts)]
    assert len(library) > 100
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in library}
    assert [(file, node.lineno) for file, tree in trees.items() for node in ast.walk(tree) if speaks(node)] == []


def test_a_program_that_does_not_listen_hears_nothing():
    done = subprocess.run([sys.executable, "-c", NOTICE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_listens_in_the_usual_way():
    listen = "import logging; logging.basicConfig(format='%(name)s: %(message)s'); "
    done = subprocess.run([sys.executable, "-c", listen + NOTICE], capture_output=True, text=True)
    assert done.stderr.startswith("backstride: nothing is known here about GPUs")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("options", "said"), [([], True), (["-v"], True), (["--verbose"], True), (["-q"], False)])
def test_a_command_says_it_on_stderr_unless_it_is_to_be_quiet(options, said, capsys):
    before = list(logger.handlers)
    assert main([*PLAN, *options]) == 0
    output = capsys.readouterr()
    assert output.err.startswith("backstride: nothing is known here about GPUs") == said
    assert output.err.count("\n") == said
    assert "sm_135" in output.out
    assert logger.level == logging.NOTSET
    assert logger.handlers == before


def test_quiet_and_verbose_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*PLAN, "-q", "-v"])
    assert "not allowed with" in capsys.readouterr().err


def test_quiet_leaves_results(capsys):
    assert main("train --epochs 1 --backend numpy -q".split()) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.startswith("test accuracy")
