"""`backstride train` by several processes: the file of a run is the same, byte for byte, whoever and how many trained
it, and whatever went wrong in between. In it are weights, buffers, the optimizer and the history."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import train_program
from commands import process, refused

import backstride
from backstride import cli
from backstride.cli import launcher
from backstride.cli.train import settings
from backstride.cli.train.run import Run

pytest.importorskip("rich", reason="the command line shows its work with rich")
pytest.importorskip("safetensors", reason="weights are kept as safetensors")
pytest.importorskip("mpi4py", reason="needs the extra mpi")
LAUNCHER = Path(sys.executable).with_name("mpiexec")
if not LAUNCHER.exists():
    pytest.skip("needs the extra mpi: there is no mpiexec beside Python", allow_module_level=True)

SECONDS = 60.0
"""In which a job has ended whose rank has failed."""
SHARDS = ["--shards", "4"]
PLAIN = {"BACKSTRIDE_BACKEND": "numpy", "BACKSTRIDE_JIT": "0"}


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch):
    """The net, and what it runs on, are here what they are in the processes that are launched."""
    monkeypatch.setattr(settings, "network", train_program.network)
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    with backstride.use_backend("numpy"), backstride.use_jit(False):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """58 images to learn: steps of 8, and of 2 at the end, where two of four shards are empty."""
    path, rng = tmp_path_factory.mktemp("data") / "data.npz", np.random.default_rng(0)
    labels = rng.integers(0, 3, 62)
    images = rng.integers(0, 100, (62, 9, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] += 150
    arrays = {"images": images[:58], "labels": labels[:58], "test_images": images[58:], "test_labels": labels[58:]}
    np.savez(path, **arrays)
    return ["--data", str(path), "--batch-size", "8", "--augment", "flip+crop"]


def launch(processes, *arguments, fault="none", command="train"):
    program = [sys.executable, train_program.__file__, fault, command, *map(str, arguments)]
    paths = [str(Path(backstride.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    launched = [str(LAUNCHER), "-n", str(processes), *program]
    return subprocess.run(launched, capture_output=True, text=True, env=environment, timeout=SECONDS, encoding="utf-8")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_outlives_its_processes(data, tmp_path):
    """24 steps: by four processes, one of which is killed at step 7; by two, told to stop; by two, one of which is
    killed while it saves; and by one."""
    path, whole = tmp_path / "run.safetensors", tmp_path / "whole.safetensors"
    options = [*data, *SHARDS, "--dtype", "float16", "--epochs", "3"]
    assert cli.main(["train", *options, "--save", str(whole)]) == 0
    saving = ["--save", path, "--save-every"]

    done = launch(4, *options, *saving, 3, fault="killed_at_step_7")
    assert done.returncode not in (0, 1, 2)
    assert Run.load(path).steps == 6

    done = launch(2, "--resume", path, "--epochs", 3, *saving, 100, fault="sigterm_at_step_10")
    assert (done.returncode, done.stderr) == (128 + 15, "")
    assert "stopped by SIGTERM after step 2 of 8 of epoch 2\n" in done.stdout
    assert Run.load(path).steps == 10

    done = launch(2, "--resume", path, "--epochs", 3, *saving, 4, fault="killed_in_a_save")
    assert done.returncode not in (0, 1, 2)
    assert Run.load(path).steps == 12

    assert cli.main(["train", "--resume", str(path), "--epochs", "3", "--save", str(path)]) == 0
    assert digest(path) == digest(whole)


def test_what_four_processes_show(data, tmp_path):
    paths = tmp_path / "four.safetensors", tmp_path / "one.safetensors"
    options = [*data, *SHARDS, "--epochs", "2", "--schedule", "cosine"]
    done = launch(4, *options, "--save", paths[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "4 shards of 2 images, 0 to 1 in the last batch of an epoch, where the others do nothing; 4 processes\n"
        in done.stdout
    )
    assert re.findall(r"^epoch (\d)/2 .* images/s$", done.stdout, re.MULTILINE) == ["1", "2"]
    speed = r"^4 processes: ([\d,]+) images/s in all, ([\d,]+) a process; scaling efficiency (\d+)% "
    assert re.search(speed, done.stdout, re.MULTILINE)
    assert done.stdout.count("saved ") == 1
    assert cli.main(["train", *options, "--save", str(paths[1])]) == 0
    assert digest(paths[0]) == digest(paths[1])


def test_a_full_disk(data, tmp_path):
    """On rank 0 alone."""
    path = tmp_path / "run.safetensors"
    options = [*data, *SHARDS, "--epochs", "3"]
    done = launch(2, *options, "--save", path, "--save-every", 3, fault="full_disk")
    assert (done.returncode, done.stderr) == (1, f"backstride: error: {path} cannot be written: File too large\n")
    assert Run.load(path).steps == 3
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_processes_that_cannot_train_together(data, capsys, monkeypatch):
    done = launch(2, *data, *SHARDS, fault="other_data")
    assert done.returncode == 2
    assert "the checksum of its data is of rank 1 on rank 1 and of rank 0 on rank 0; expected the same" in done.stderr
    assert done.stderr.count("\n") == 1
    done = launch(2, *data, *SHARDS, "--epochs", "1", fault="other_processor")
    assert done.returncode == 0
    assert re.fullmatch(
        r"backstride: processor is of process \d+ on rank 1 and of process \d+ on rank 0: their weights .+\n",
        done.stderr,
    )
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert "2 processes were launched, each of which would train by itself" in refused(capsys, "train")
    done = process("train", *data, *SHARDS)
    assert done.returncode == 2
    assert "2 processes were launched, and MPI sees 1: the launcher and the MPI library" in done.stderr


def test_shards_and_other_options(data, tmp_path, capsys, monkeypatch):
    assert "argument --shards: '3' is not 1, 2, 4, 8, ..." in refused(capsys, "train", "--shards", "3")
    with monkeypatch.context() as patched:
        patched.setattr("backstride.cli.train.options.get_backend", lambda: "cupy")
        assert "a step of shards is not one graph" in refused(capsys, "train", *SHARDS, "--capture")
    path = tmp_path / "run.safetensors"
    assert cli.main(["train", *data, "--shards", "2", "--epochs", "1", "--save", str(path)]) == 0
    capsys.readouterr()
    error = refused(capsys, "train", "--resume", str(path), *SHARDS)
    assert "argument --shards: 4, but" in error
    assert "was begun with 2" in error
    monkeypatch.setenv("PMI_SIZE", "2")
    assert "2 processes were launched, each of which" in refused(capsys, "train", *data, "--shards", "1")


def test_info(capsys):
    done = launch(2, command="info")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^processes +2, by MPICH Version: \d", done.stdout, re.MULTILINE)
    ranks = re.findall(r"^rank (\d) +.+, process (\d+), ", done.stdout, re.MULTILINE)
    assert [rank for rank, _ in ranks] == ["0", "1"]
    assert len({process for _, process in ranks}) == 2
    assert len(re.findall(r"^backstride ", done.stdout, re.MULTILINE)) == 1
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^mpi +mpi4py \d", out, re.MULTILINE)
    assert re.search(r"^nccl +\S", out, re.MULTILINE)
    assert "processes" not in out


class Third:
    """Rank 2 of four, on the second of two machines."""

    name, rank, size = "mpi", 2, 4

    def gather(self, own):
        _, cores = own
        return [("elsewhere", cores), ("elsewhere", cores), own, own]


@pytest.mark.parametrize(("environment", "threads"), [({}, [2]), ({"OMP_NUM_THREADS": "3"}, [])])
def test_processes_share_a_machine(environment, threads, monkeypatch):
    limits, devices = [], []
    cuda = types.SimpleNamespace(
        Device=lambda number: types.SimpleNamespace(use=lambda: devices.append(number)),
        runtime=types.SimpleNamespace(getDeviceCount=lambda: 2),
    )
    monkeypatch.setattr(launcher, "import_cupy", lambda: types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(launcher, "cores", lambda: 5)
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda limit, user_api: limits.append(limit))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    launcher.share_machine(Third(), "cupy")
    assert (limits, devices) == (threads, [0])
    devices.clear()
    launcher.share_machine(Third(), "numpy")
    assert devices == []
