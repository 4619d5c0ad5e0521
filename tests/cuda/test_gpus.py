"""The table of GPU facts, and that the kernels fit every architecture that the compiler knows (faults G3 and G4)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import variants
from accuracy import DTYPES, dtype_of

from backstride import use_float32_precision
from backstride.cli import main
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.cuda.gemm.choice import candidates, choose, multiply_policy
from backstride.kernels.cuda.gemm.configuration import Architecture, Product
from backstride.kernels.cuda.offline import ptxas
from backstride.kernels.cuda.offline.dryrun import Launch
from backstride.kernels.cuda.offline.occupancy import blocks_per_sm
from backstride.kernels.cuda.offline.plan import CallPlan, plan
from backstride.kernels.cuda.runtime import gpus, nvrtc
from backstride.kernels.cuda.runtime.gpus import COMPUTE_CAPABILITIES, GPUS, Gpu, compute_capability, gpu_of
from backstride.kernels.operation import Case

# CUDA Programming Guide, "Compute Capabilities": shared KiB of an SM and at most of a block, threads and blocks of an
# SM, FP32 lanes for each FP64 one, and whether the tensor cores take FP64.
PUBLISHED = {
    75: (64, 64, 1024, 16, 32, False),
    80: (164, 163, 2048, 32, 2, True),
    86: (100, 99, 1536, 16, 64, False),
    87: (164, 163, 1536, 16, 64, False),
    89: (100, 99, 1536, 24, 64, False),
    90: (228, 227, 2048, 32, 2, True),
    100: (228, 227, 2048, 32, 2, True),
    103: (228, 227, 2048, 32, 64, False),
    110: (228, 227, 1536, 24, 64, False),
    120: (100, 99, 1536, 24, 64, False),
    121: (100, 99, 1536, 24, 64, False),
}
# Without Jetson TX1 and TX2 (5.3 and 6.2), whose software ends before the CUDA that CuPy needs.
ALL = sorted({*COMPUTE_CAPABILITIES, *nvrtc.architectures()} - {53, 62})
CONV = Case("", (8, 64, 28, 28), (96, 64, 3, 3), {"padding": 1})
POOL = Case("", (8, 64, 28, 28), (), {"kernel_size": 3, "stride": 2})
LINEAR = Case("", (256, 512), (300, 512))
CALLS = [("conv", CONV), ("conv_input_grad", CONV), ("conv_weight_grad", CONV), ("max_pool", POOL)]
CALLS += [("linear", LINEAR), ("linear_weight_grad", LINEAR)]


@pytest.mark.parametrize("sm", PUBLISHED)
def test_the_table_is_as_published(sm: int) -> None:
    one = COMPUTE_CAPABILITIES[sm]
    lanes = one.ffma // one.float64
    found = (one.shared_kib, one.block_shared_kib, one.threads, one.blocks, lanes, one.mma_float64 > 0)
    assert found == PUBLISHED[sm]


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_lanes_and_peaks_agree_on_a_clock(gpu: Gpu) -> None:
    """Peaks are two operations for each multiply-add of all lanes: both scalar units have the clock of one GPU."""
    one = COMPUTE_CAPABILITIES[gpu.sm]
    clock = gpu.float32 * 1e12 / (2 * gpu.multiprocessors * one.ffma)
    assert 1.2e9 < clock < 2.7e9
    if not one.mma_float64:  # else it is the tensor cores' peak
        assert gpu.float64 * 1e12 / (2 * gpu.multiprocessors * one.float64) == pytest.approx(clock, rel=0.07)  # rounded
    assert (gpu.tf32 is None) == (one.mma_tf32 == 0)


def planned(sm: int, dtype: str, requests: list[tuple[str, Case]] = CALLS) -> Iterator[CallPlan]:
    gpu = Gpu("", sm, gpu_of(sm).multiprocessors, 1, 1, 1, 1, 1)
    for operation, case in requests:
        arguments = calls.call(OPERATIONS[operation], case, calls.bare(dtype_of(dtype)))
        yield plan(OPERATIONS[operation], arguments, gpu, "auto", compile_=False)


@pytest.mark.parametrize("precision", ["auto", "ieee", "tf32"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sm", ALL)
def test_what_is_chosen_fits_every_architecture(sm: int, dtype: str, precision: str) -> None:
    """G3, G4: for each that NVRTC compiles for, and each in the table."""
    one = compute_capability(sm)
    with use_float32_precision(precision):
        for found in planned(sm, dtype):
            for kernel in found.kernels:
                assert kernel.shared_bytes <= one.block_shared_bytes
            for c in found.products:
                assert c.shared_bytes + 2048 <= one.block_shared_bytes  # 2048: static, the table of taps
                assert c.multiply in supported(sm, dtype)
                assert c.stages == (4 if c.pieces else 3 if sm >= 80 else 2)


def supported(sm: int, dtype: str) -> set[str]:
    """PTX ISA, "mma": m16n8k8 of float16 from sm_75 on, of bfloat16 and tf32 from sm_80 on; "wgmma": sm_90a alone."""
    unit = {"float64": "Dmma", "float16": "Mma16bit", "bfloat16": "Mma16bit"}.get(dtype)
    units = {unit} if unit else {"Tf32", "Tf32x3"}
    warpgroup = {"Wgmma16bit", "WgmmaTf32", "WgmmaTf32x3"} if sm == 90 and dtype != "float64" else set()
    return {"Ffma"} | warpgroup | (units if sm >= (75 if dtype == "float16" else 80) else set())


@pytest.mark.compiler
@pytest.mark.parametrize("sm", [sm for sm in ALL if sm not in variants.ARCHITECTURES])
def test_kernels_compile_for_every_architecture_without_spills(sm: int) -> None:
    """G3, G4: one call in each dtype, another one for each architecture; the compile matrix takes those it leaves."""
    if ptxas.unavailable(sm) is not None:
        pytest.skip(ptxas.unavailable(sm))
    launches: dict[str, Launch] = {}
    for place, dtype in enumerate(DTYPES, ALL.index(sm)):
        for found in planned(sm, dtype, CALLS[place % len(CALLS) :][:1]):
            launches[found.main.launch.text] = found.main.launch
    with ThreadPoolExecutor() as pool:
        usages = list(pool.map(lambda text: ptxas.compiled(text, sm), launches))
    for launch, usage in zip(launches.values(), usages, strict=True):
        assert (usage.spill_bytes, usage.stack_bytes) == (0, 0), (launch.entry, launch.defines)
        shared = launch.shared_bytes + usage.static_shared_bytes
        needed = int(launch.defines.get("BLOCKS_PER_SM", 1))
        assert blocks_per_sm(sm, launch.threads, usage.registers, 0) >= needed, (launch.entry, launch.defines)
        assert blocks_per_sm(sm, launch.threads, usage.registers, shared) >= 1, (launch.entry, launch.defines)


@pytest.mark.parametrize(
    ("dtype", "sm", "policy"),
    [
        ("float16", 70, "Ffma"),  # G3: mma m16n8k8 needs sm_75
        ("float16", 75, "Mma16bit"),
        ("float32", 87, "Ffma"),  # 512 TF32 multiply-adds a clock, three for each of FFMA's 128
        ("float32", 103, "Tf32x3"),  # G4
        ("float32", 110, "Tf32x3"),
        ("float32", 121, "Ffma"),
        ("float64", 100, "Dmma"),
        ("float64", 103, "Ffma"),  # whose tensor cores have no FP64
        ("float64", 110, "Ffma"),
    ],
)
def test_policies_of_the_architectures_in_between(dtype: str, sm: int, policy: str) -> None:
    assert multiply_policy(dtype, 1000, sm, "auto") == policy


def test_an_unknown_architecture_takes_the_nearest_below_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    compute_capability.cache_clear()
    found = compute_capability(135)
    assert (found.sm, found.shared_kib) == (135, 100)
    assert compute_capability(135) is found
    compute_capability(35)
    first, second = caplog.messages
    assert "compute capability 13.5: kernels are chosen as for 12.1" in first
    assert "3.5: kernels are chosen as for 5.0" in second
    compute_capability.cache_clear()


def test_unknown_architectures_are_planned_where_the_compiler_knows_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvrtc, "architectures", lambda: (135,))
    compute_capability.cache_clear()
    assert main("plan linear --x 256,512 --w 300,512 --sm 135".split()) == 0
    output = capsys.readouterr()
    assert "an unlisted GPU with the peaks of GB10 (sm_135, 48 SMs)" in output.out.replace("\n", " ")
    assert "as for 12.1" in output.err
    compute_capability.cache_clear()


@pytest.mark.parametrize("sm", [87, 103, 110, 121])
def test_commands_take_the_architectures_in_between(sm: int, capsys: pytest.CaptureFixture[str]) -> None:
    """G4."""
    assert main(f"plan conv2d --x 8,64,28,28 --w 96,64,3,3 --sm {sm}".split()) == 0
    assert f"on {gpu_of(sm).name} (sm_{sm}, {gpu_of(sm).multiprocessors} SMs)" in capsys.readouterr().out


def test_every_shape_of_product_fits_the_smallest_blocks() -> None:
    """48 KiB, before sm_70."""
    for dtype in DTYPES:
        for a_k_major, b_k_major in np.ndindex(2, 2):
            product = Product(500, 300, 700, 2, bool(a_k_major), bool(b_k_major))
            assert list(candidates(product, dtype, Architecture(61, 20), "auto"))
            assert choose(product, dtype, Architecture(61, 20), "ieee").shared_bytes + 2048 <= 48 * 1024


def test_the_nearest_gpu_stands_for_an_architecture_without_one() -> None:
    assert [gpu_of(sm).name for sm in (61, 88, 101, 103)] == ["V100 SXM2", "Jetson AGX Orin", "B200", "B300"]
    assert gpus.nearest_below(60, (70, 75)) == 70
