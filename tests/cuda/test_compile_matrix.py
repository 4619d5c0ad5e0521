"""Every kernel variant under the CUDA compiler: no spills, no stack frame, no more registers than it may use.

All variants for all architectures take too long for every run: by default each run compiles those of one call in TURNS,
for one architecture each. Which ones follows from the CUDA sources, so a change of the kernels moves on to others.
BACKSTRIDE_COMPILE_MATRIX=all (ci/compile-matrix --all) compiles everything.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import variants

from backstride.kernels.cuda.offline import ptxas
from backstride.kernels.cuda.offline.dryrun import Device, Launch
from backstride.kernels.cuda.offline.occupancy import blocks_per_sm
from backstride.kernels.cuda.runtime.gpus import GPUS, gpu_of
from backstride.kernels.cuda.runtime.loader import sources

ALL = os.environ.get("BACKSTRIDE_COMPILE_MATRIX") == "all"
TURNS = 80
LEAST_THREADS = 512
"""That an SM's registers must be enough for, where a kernel does not say how many blocks it counts on."""


def chosen() -> dict[int, list[Launch]]:
    """Compute capability -> what to compile for it in this run: all that any GPU of it launches, or a share."""
    by_sm: dict[int, dict[variants.Key, Launch]] = {sm: {} for sm in variants.ARCHITECTURES}
    for sm, found in by_sm.items():
        for gpu in [gpu for gpu in GPUS if gpu.sm == sm] if ALL else [gpu_of(sm)]:
            found |= variants.found(Device(sm, gpu.multiprocessors), _share(sm))
    return {sm: list(found.values()) for sm, found in by_sm.items()}


def _share(sm: int) -> Callable[[int], bool]:
    own, turns = variants.ARCHITECTURES.index(sm), 1 if ALL else TURNS * len(variants.ARCHITECTURES)
    turn = zlib.crc32(b"".join(file.read_bytes() for file in sources().values())) + own * TURNS
    return lambda number: number % turns == turn % turns


@pytest.fixture(scope="module")
def matrix() -> dict[int, list[Launch]]:
    return chosen()


def faults(launch: Launch, sm: int, usage: ptxas.Usage) -> list[str]:
    found = []
    if usage.spill_bytes or usage.stack_bytes:
        found.append(f"spills {usage.spill_bytes} bytes, {usage.stack_bytes} bytes of stack")
    if usage.serialised:
        found.append("wgmmas wait for one another")
    needed = int(launch.defines.get("BLOCKS_PER_SM", -(-LEAST_THREADS // launch.threads)))
    if blocks_per_sm(sm, launch.threads, usage.registers, 0) < needed:
        found.append(f"{usage.registers} registers do not leave room for {needed} blocks per SM")
    shared = launch.shared_bytes + usage.static_shared_bytes
    if blocks_per_sm(sm, launch.threads, usage.registers, shared) < 1:
        found.append(f"a block does not fit: {launch.threads} threads, {shared} bytes shared")
    return found


@pytest.mark.compiler
@pytest.mark.parametrize("sm", variants.ARCHITECTURES)
def test_variants_compile_within_their_resources(sm, matrix, capsys):
    reason = ptxas.unavailable(sm)
    if reason is not None:
        pytest.skip(reason)
    launches = matrix[sm]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        usages = list(pool.map(lambda launch: ptxas.compiled(launch.text, sm), launches))
    report = sorted((usage.registers, launch.entry) for usage, launch in zip(usages, launches, strict=True))
    spilled = sum(usage.spill_bytes > 0 or usage.stack_bytes > 0 for usage in usages)
    with capsys.disabled():
        print(f"\nsm_{sm}: {len(launches)} variants, at most {report[-1]} registers, {spilled} with spills or stack")
    wrong = [
        f"{launch.entry} {launch.defines}: {fault}"
        for launch, usage in zip(launches, usages, strict=True)
        for fault in faults(launch, sm, usage)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.compiler
def test_every_architecture_is_reached(matrix):
    assert all(matrix[sm] for sm in variants.ARCHITECTURES)


@pytest.mark.compiler
def test_no_launcher_leaves_a_default(matrix):
    """Defaults of #defines are for editors, but for the fields that stand in for what is no constant."""
    default = re.compile(r"^#define (\w+) (?!\(.*windows\.)(.+)$", re.MULTILINE)
    left = {
        (launch.entry, name)
        for launches in matrix.values()
        for launch in launches
        for group in re.findall(r"^#ifndef (?!BACKSTRIDE)\w+.*\n(?:#define .+\n)+#endif", launch.text, re.MULTILINE)
        for name, _ in default.findall(group)
        if name not in launch.defines
    }
    assert not left


@pytest.mark.compiler
def test_spills_and_a_missed_budget_are_reported():
    """Sixty-four accumulators cannot live in the 32 registers that 2,048 threads per SM leave to each."""
    text = """
    extern "C" __global__ void __launch_bounds__(1024, 2) greedy(float* x) {
        float a[64];
        for (int i = 0; i < 64; ++i) a[i] = x[threadIdx.x + 1024 * i];
        for (int n = 0; n < 64; ++n)
            for (int i = 0; i < 64; ++i) a[i] = a[i] * a[(i * 7 + n) % 64] + x[n];
        for (int i = 0; i < 64; ++i) x[threadIdx.x + 1024 * i] = a[i];
    }"""
    usage = ptxas.compiled(text, 80)
    assert usage.spill_bytes or usage.stack_bytes
    (fault,) = faults(Launch(text, "greedy", (1,), (1024,), 0), 80, usage)
    assert fault.startswith("spills")

    roomy = ptxas.Usage(registers=65, stack_bytes=0, spill_bytes=0, static_shared_bytes=1024)
    assert not faults(Launch("#define BLOCKS_PER_SM 7\n", "roomy", (1,), (128,), 0), 80, roomy)
    assert faults(Launch("#define BLOCKS_PER_SM 8\n", "roomy", (1,), (128,), 0), 80, roomy) == [
        "65 registers do not leave room for 8 blocks per SM"
    ]
    greedy = ptxas.Usage(registers=129, stack_bytes=0, spill_bytes=0, static_shared_bytes=0)
    assert faults(Launch("", "greedy", (1,), (128,), 0), 80, greedy) == [
        "129 registers do not leave room for 4 blocks per SM"
    ]
    assert not faults(Launch("", "roomy", (1,), (128,), 162 * 1024), 80, roomy)
    assert faults(Launch("", "roomy", (1,), (128,), 163 * 1024), 80, roomy) == [
        "a block does not fit: 128 threads, 167936 bytes shared"
    ]


@pytest.mark.compiler
def test_a_kernel_that_does_not_compile_says_so():
    with pytest.raises(ptxas.CompilationError, match=r'identifier "undeclared" is undefined'):
        ptxas.compiled('extern "C" __global__ void k(int* x) { *x = undeclared; }', 80)
