"""The emulator's cache folder: processes that start at once build each file once, and a damaged one is built again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

DOUBLES = """
import emulator
import numpy as np

with emulator.installed() as cupy:
    text = 'extern "C" __global__ void twice(float* y) { y[threadIdx.x] *= 2; }'
    y = cupy.asarray(np.arange(4, dtype=np.float32))
    cupy.RawModule(code=text).get_function("twice")((1,), (4,), (y,))
    print(*y.get())
"""

# Says what it was asked for; the wait lets all processes find the folder empty.
COMPILER = """#!/bin/sh
for last; do :; done
basename "$last" >> "{log}"
sleep 1
exec "{compiler}" "$@"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What g++ has made, a name a line, in an empty cache folder."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("the emulator compiles kernels with g++, which is not installed")
    log, programs = tmp_path / "log", tmp_path / "programs"
    programs.mkdir()
    (programs / "g++").write_text(COMPILER.format(log=log, compiler=compiler))
    (programs / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("EMULATOR_CACHE", str(tmp_path / "cache"))
    return log


def doubles(processes: int) -> set[tuple[str, str]]:
    """What processes that start at once print when a kernel has doubled 0, 1, 2 and 3."""
    command = [sys.executable, "-c", DOUBLES]
    running = [
        subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return {process.communicate(timeout=600) for process in running}


RIGHT = {("0.0 2.0 4.0 6.0\n", "")}
BUILT = ["dialect.h.gch", "kernel.so", "server"]


def test_processes_that_start_at_once(log: Path) -> None:
    assert doubles(3) == RIGHT
    assert sorted(log.read_text(encoding="utf-8").split()) == BUILT


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def test_damaged_files_are_built_again(log: Path, tmp_path: Path) -> None:
    assert doubles(1) == RIGHT
    for damage in (half, zeros):
        for name in BUILT:
            (output,) = (tmp_path / "cache").glob(f"*/{name}")
            output.write_bytes(damage(output.read_bytes()))
        log.unlink()
        assert doubles(1) == RIGHT
        assert sorted(log.read_text(encoding="utf-8").split()) == BUILT
