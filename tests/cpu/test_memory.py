"""The NumPy path takes less than 64 MiB over its inputs and outputs, whatever the batch."""

from __future__ import annotations

import subprocess
import sys

import extra_memory
import pytest

LIMIT = 64 * 2**20


@pytest.fixture
def measure(capsys, tmp_path):
    def measured(case: str) -> int:
        command = [sys.executable, extra_memory.__file__, case]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        extra = int(done.stdout)
        with capsys.disabled():
            print(f"\n  {case}: {extra / 2**20:.1f} MiB over inputs and outputs", end="")
        return extra

    return measured


@pytest.mark.parametrize("case", extra_memory.CASES)
def test_extra_memory(measure, case):
    """'resnet' is (32, 64, 56, 56) * (64, 64, 3, 3), whose columns would take 231 MB if they were made all at once."""
    assert measure(case) < LIMIT


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight_grad", "max_pool2d"])
def test_extra_memory_does_not_grow_with_the_batch(measure, operation):
    small, large = measure(f"{operation} batch 32"), measure(f"{operation} batch 256")
    assert large <= max(1.5 * small, 16 * 2**20)
