"""What docs/distributed.md says of several processes: its commands are commands, its loop trains the same bits under a
launcher, its table is what the model prints."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import shown

import backstride
from backstride.distributed import simulate

TEXT = shown.page("docs/distributed.md")
LOOP, PAPER = shown.python(TEXT)
LINES = TEXT.replace("\\\n", " ").replace("$([ -f $run ] && echo --resume $run)", "--resume run.safetensors")
LAUNCHED = re.findall(r"^(?:mpiexec|srun) .*?(backstride (?:train|info).*)", LINES, re.MULTILINE)
DIGEST = "import hashlib; print(hashlib.sha256(b''.join(p.data.tobytes() for p in net.parameters())).hexdigest())"


@pytest.mark.parametrize("line", LAUNCHED)
def test_a_launched_command_is_one(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown.assert_is_a_command(
        line.replace("$([ -f $run ] && echo --resume $run)", "--resume run.safetensors"), tmp_path
    )


def test_there_are_launched_commands():
    assert len(LAUNCHED) == 4


def test_the_model_of_scaling():
    (words,) = re.findall(r"^python -m backstride.distributed.simulate (.*)", TEXT, re.MULTILINE)
    assert simulate._arguments(shlex.split(words)).processes == [8, 64, 512]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(PAPER, {})
    assert f"```text\n{printed.getvalue()}```\n" in TEXT


def test_the_loop_in_two_processes():
    pytest.importorskip("mpi4py", reason="needs the extra mpi")
    launcher = Path(sys.executable).with_name("mpiexec")
    if not launcher.exists():
        pytest.skip("needs the extra mpi: there is no mpiexec beside Python")
    code = LOOP.replace('communicator("single")', 'communicator("mpi")')
    assert code != LOOP
    environment = os.environ | {
        "PYTHONPATH": str(Path(backstride.__file__).parents[1]),
        "OPENBLAS_NUM_THREADS": "1",
        "BACKSTRIDE_JIT": "0",
        "BACKSTRIDE_BACKEND": "numpy",
    }
    command = [str(launcher), "-n", "2", sys.executable, "-c", f"{code}\n{DIGEST}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    names: dict[str, object] = {}
    with backstride.use_jit(False), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(f"{LOOP}\n{DIGEST}", names)
    assert "".join(done.stdout.split()) == 2 * printed.getvalue().strip()  # each in a line, but for a race of two lines
