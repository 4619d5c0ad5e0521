"""Peak rates of NVIDIA GPUs as published in their datasheets and architecture white papers; nothing here was measured.

Dense rates at the boost clock, without sparsity. Real kernels stay below them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU: compute capability sm / 10, SMs, peaks in TFLOP/s and memory bandwidth in GB/s.

    `half` is the tensor cores' float16 rate with float32 accumulation, and bfloat16's from sm_80 on; float64 is with
    tensor cores where they take it. tf32 is None where there is no such unit.
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
    Gpu("T4", 75, 40, 8.1, 0.25, None, 65, 320),
    Gpu("A100 80GB SXM", 80, 108, 19.5, 19.5, 156, 312, 2039),
    Gpu("A10", 86, 72, 31.2, 0.49, 62.5, 125, 600),
    Gpu("RTX 3090", 86, 82, 35.6, 0.56, 35.6, 71, 936),
    Gpu("L4", 89, 58, 30.3, 0.47, 60, 121, 300),
    Gpu("RTX 4090", 89, 128, 82.6, 1.29, 82.6, 165.2, 1008),
    Gpu("H100 SXM", 90, 132, 67, 67, 495, 989, 3350),
    Gpu("H200", 90, 132, 67, 67, 495, 989, 4800),
    Gpu("B200", 100, 148, 75, 37, 1100, 2250, 7700),
    Gpu("RTX 5090", 120, 170, 104.8, 1.64, 104.8, 209.5, 1792),
)
