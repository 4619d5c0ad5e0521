"""Facts about NVIDIA GPUs, as published; nothing here was measured, unless a line says so.

Resources: CUDA Programming Guide, "Compute Capabilities" (of CUDA 13; for 5.x to 7.2 of CUDA 12), and the traits that
NVIDIA's CCCL keeps for each architecture (libcudacxx, cuda/__device/arch_traits.h). Allocation units: cuda_occupancy.h
of the CUDA Toolkit. Lanes: CUDA Best Practices Guide, "Throughput of Native Arithmetic Instructions".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from ...._notices import logger

DEFAULT_BLOCK_SHARED_BYTES = 48 * 1024
"""Shared memory that a block has without asking, on every GPU."""

REGISTERS = 65536
"""Registers of one SM, on every GPU here."""

WARP_REGISTER_UNIT = 256
"""In which registers are given to a warp."""


@dataclass(frozen=True)
class ComputeCapability:
    """One SM of compute capability sm / 10: what it holds, and its multiply-adds per clock.

    ffma and float64 are its scalar lanes. mma_16bit, mma_tf32 and mma_float64 are the tensor cores' rates as mma.sync
    reaches them, 0 where they lack the type; before sm_80 mma_16bit is that of float16 alone.
    """

    sm: int
    shared_kib: int
    block_shared_kib: int
    threads: int
    blocks: int
    ffma: int
    float64: int
    mma_16bit: int = 0
    mma_tf32: int = 0
    mma_float64: int = 0

    @property
    def shared_bytes(self) -> int:
        return self.shared_kib * 1024

    @property
    def block_shared_bytes(self) -> int:
        """The most that a block may ask for, static and dynamic together."""
        return self.block_shared_kib * 1024

    @property
    def reserved_shared_bytes(self) -> int:
        """The driver's share of every block."""
        return 1024 if self.sm >= 80 else 0

    @property
    def shared_unit(self) -> int:
        """In which shared memory is given to a block."""
        return 128 if self.sm >= 70 else 256

    @property
    def partitions(self) -> int:
        """Among which an SM's registers and warps are shared out."""
        return 2 if self.sm == 60 else 4

    @property
    def cp_async(self) -> bool:
        """Copies from global to shared memory that do not pass through registers."""
        return self.sm >= 80

    @property
    def wgmma(self) -> bool:
        """Products by a warpgroup, which need code for this compute capability alone (sm_90a)."""
        return self.sm == 90

    @property
    def mma_bfloat16(self) -> bool:
        return self.sm >= 80

    @property
    def full_rate_tensor_cores(self) -> bool:
        """Whether three TF32 products are well faster than one by FFMA: those of data-center GPUs."""
        return self.mma_tf32 / 3 > 1.5 * self.ffma


# Tensor cores: datasheet peaks at the boost clock; of sm_90 and the sm_100 family times the 0.63 that mma.sync reaches
# on sm_90 ("Dissecting the NVIDIA Hopper Architecture", arXiv 2501.12084). sm_87: 85 dense INT8 TOPS of Jetson AGX
# Orin. sm_110 was sm_101 before CUDA 13; 517 sparse FP16 TFLOP/s of Jetson T5000 are an sm_100's rate.
_TABLE = (
    # sm, shared and block_shared KiB, threads, blocks, ffma, float64, mma_16bit, mma_tf32, mma_float64
    ComputeCapability(50, 64, 48, 2048, 32, 128, 4),
    ComputeCapability(52, 96, 48, 2048, 32, 128, 4),
    ComputeCapability(60, 64, 48, 2048, 32, 64, 32),
    ComputeCapability(61, 96, 48, 2048, 32, 128, 4),
    ComputeCapability(70, 96, 96, 2048, 32, 64, 32),
    ComputeCapability(72, 96, 96, 2048, 32, 64, 32),
    ComputeCapability(75, 64, 64, 1024, 16, 64, 2, 512),
    ComputeCapability(80, 164, 163, 2048, 32, 64, 32, 1024, 512, 64),
    ComputeCapability(86, 100, 99, 1536, 16, 128, 2, 512, 128),
    ComputeCapability(87, 164, 163, 1536, 16, 128, 2, 1024, 512),
    ComputeCapability(88, 100, 99, 1536, 16, 128, 2, 512, 128),
    ComputeCapability(89, 100, 99, 1536, 24, 128, 2, 512, 128),
    ComputeCapability(90, 228, 227, 2048, 32, 128, 64, 1344, 672, 128),
    ComputeCapability(100, 228, 227, 2048, 32, 128, 64, 1344, 672, 64),
    ComputeCapability(101, 228, 227, 1536, 24, 128, 2, 1344, 672),
    ComputeCapability(103, 228, 227, 2048, 32, 128, 2, 1344, 672),
    ComputeCapability(110, 228, 227, 1536, 24, 128, 2, 1344, 672),
    ComputeCapability(120, 100, 99, 1536, 24, 128, 2, 512, 128),
    ComputeCapability(121, 100, 99, 1536, 24, 128, 2, 512, 128),
)

COMPUTE_CAPABILITIES = {each.sm: each for each in _TABLE}


@cache
def compute_capability(sm: int) -> ComputeCapability:
    """The facts about sm / 10; of one that is not in the table, with a warning, the nearest below that is."""
    known = nearest_below(sm, COMPUTE_CAPABILITIES)
    if known != sm:
        logger.warning(
            f"nothing is known here about GPUs of compute capability {sm / 10}: kernels are chosen as for {known / 10}"
        )
    return replace(COMPUTE_CAPABILITIES[known], sm=sm)


def nearest_below(sm: int, known: Iterable[int]) -> int:
    """sm itself, or the nearest below among those that are known, or else the least of them."""
    known = sorted(known)
    return max((each for each in known if each <= sm), default=known[0])


@dataclass(frozen=True)
class Gpu:
    """One GPU: compute capability sm / 10, SMs, peaks in TFLOP/s and memory bandwidth in GB/s.

    Peaks are dense rates at the boost clock, from datasheets and architecture white papers; real kernels stay below
    them. GB10's are derived from its 1000 sparse FP4 TFLOP/s. `half` is the tensor cores' float16 rate with float32
    accumulation, and bfloat16's from sm_80 on; float64 is with tensor cores where they take it. tf32 is None where
    there is no such unit.
    """

    name: str
    sm: int
    multiprocessors: int
    float32: float
    float64: float
    tf32: float | None
    half: float
    bandwidth: float

    def peak(self, dtype: str, precision: str) -> float:
        """FLOP/s for sums of products in this dtype, float32 at this precision (precision.py)."""
        if dtype == "float64":
            return 1e12 * self.float64
        if dtype == "float16" or (dtype == "bfloat16" and self.sm >= 80):
            return 1e12 * self.half
        tf32 = self.tf32 if self.tf32 and dtype == "float32" else 0.0
        # tf32x3 spends three tensor-core products on one; auto takes the faster way.
        rates = {"ieee": self.float32, "tf32": max(tf32, self.float32)}
        return 1e12 * rates.get(precision, max(tf32 / 3, self.float32))


GPUS = (
    Gpu("V100 SXM2", 70, 80, 15.7, 7.8, None, 125, 900),
    Gpu("T4", 75, 40, 8.1, 0.25, None, 65, 320),
    Gpu("A100 80GB SXM", 80, 108, 19.5, 19.5, 156, 312, 2039),
    Gpu("A10", 86, 72, 31.2, 0.49, 62.5, 125, 600),
    Gpu("RTX 3090", 86, 82, 35.6, 0.56, 35.6, 71, 936),
    Gpu("Jetson AGX Orin", 87, 16, 5.3, 0.083, 21.2, 42.5, 204.8),
    Gpu("L4", 89, 58, 30.3, 0.47, 60, 121, 300),
    Gpu("RTX 4090", 89, 128, 82.6, 1.29, 82.6, 165.2, 1008),
    Gpu("H100 SXM", 90, 132, 67, 67, 495, 989, 3350),
    Gpu("H200", 90, 132, 67, 67, 495, 989, 4800),
    Gpu("B200", 100, 148, 75, 37, 1100, 2250, 7700),
    Gpu("B300", 103, 148, 75, 1.25, 1125, 2250, 8000),
    Gpu("Jetson T5000", 110, 20, 8.06, 0.126, 129, 258, 273),
    Gpu("RTX 5090", 120, 170, 104.8, 1.64, 104.8, 209.5, 1792),
    Gpu("GB10", 121, 48, 31, 0.48, 62.5, 125, 273),
)


def gpu_of(sm: int) -> Gpu:
    """The last GPU in the list of this compute capability, or else of the nearest below that has one."""
    known = nearest_below(sm, (gpu.sm for gpu in GPUS))
    return next(gpu for gpu in reversed(GPUS) if gpu.sm == known)
