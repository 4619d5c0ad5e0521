"""Real MPI: the same bits from 1, 2 and 4 processes, and jobs that end where one of them fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mpi_program
import pytest

import backstride

pytest.importorskip("mpi4py", reason="needs the extra mpi")
LAUNCHER = Path(sys.executable).with_name("mpiexec")
if not LAUNCHER.exists():
    pytest.skip("needs the extra mpi: there is no mpiexec beside Python", allow_module_level=True)

SECONDS = 60.0
"""A job whose rank has failed ends in this time; so do the others here."""


def launch(name, processes, **variables):
    program = [sys.executable, mpi_program.__file__, name]
    paths = [str(Path(backstride.__file__).parents[1]), str(Path(mpi_program.__file__).parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **variables}
    command = [str(LAUNCHER), "-n", str(processes), *program]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=2 * SECONDS)
    assert time.monotonic() - began < SECONDS
    return done


@pytest.fixture(scope="module")
def of_one():
    done = launch("digests", 1)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


@pytest.mark.parametrize("processes", [2, 4])
def test_the_same_bits(processes, of_one):
    done = launch("digests", processes)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [of_one] * processes
    assert len(set(of_one.values())) == 3  # the net that is not given trains the same


def test_one_process_needs_no_mpi(of_one):
    for name, options in mpi_program.SCENARIOS.items():
        training = mpi_program.Training(backstride.distributed.communicator("single"), 4, **options)
        for step in range(mpi_program.STEPS):
            training.step(step)
        assert training.digest() == of_one[name], name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("killed_in_backward", ""),  # the launcher kills all at once
        ("killed_in_a_reduction", ""),
        ("stopped_in_backward", "rank 1 (process "),  # which the launcher does not see
        ("raises_in_a_step", "ZeroDivisionError: on purpose\nbackstride: rank 1 has failed; the job is ended"),
        ("leaves_early", "rank 1 has ended, and rank 0 still waits for another rank"),
        ("is_stuck", "rank 0 has waited 2 s for another rank, its timeout"),
        ("has_another_version", "the version of backstride is 0.0.1 on rank 1 and "),
        ("has_another_net", "parameter 0 is trained, float32 (7, 1, 3, 3) on rank 1 and trained, float32 (6, "),
        ("has_no_dropout", "layer 3 is Flatten() on rank 1 and Dropout(0.3) on rank 0"),
        ("is_too_many", "the number of processes is 2; expected at most shards, which is 1"),
    ],
)
def test_a_job_ends(name, message):
    done = launch(name, 2, BACKSTRIDE_JIT="0")
    assert done.returncode != 0
    assert message in done.stderr
    assert "has trained" not in done.stdout


def test_a_slow_rank_is_waited_for():
    done = launch("is_slow", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has trained") == 2
