"""How long a product takes, by estimate: the instructions of its main loop, the clocks they take, the seconds.

None of it was timed. Instructions and uses of shared memory are counts of the compiled kernels' (loops.py).
"""

from __future__ import annotations

from functools import lru_cache

from . import loops
from .configuration import Architecture, Configuration

LAUNCH_SECONDS = 4e-6
"""What another launch adds."""

_FFMA_SLOTS = 1.25  # of direct kernels, for each multiply-add of a warp

# wgmma reaches 0.95 of the peak where mma.sync reaches 0.63 (runtime/gpus.py).
_WGMMA_GAIN = 0.95 / 0.63

# The clocks to fill the pipeline and store C, the duration of each part that k is split in, and the bandwidth that
# partial sums have.
_FIXED_CLOCKS = 2000
_PART_SECONDS = 15e-9
_CLOCK = 1.7e9
_BANDWIDTH = 3.0e12


def seconds(c: Configuration) -> float:
    """The duration of a product: the busiest SM's blocks, the sum of the partial results, and further launches."""
    on_one_sm = max(1, -(-c.blocks // c.architecture.multiprocessors))  # an empty product has no block
    warps = min(on_one_sm, c.blocks_per_sm) * c.threads // 32
    hidden = warps / (warps + 2)  # of the latency, by switching between warps
    steps = -(-c.k_units // c.splits) * c.unit_steps
    product = on_one_sm * (steps * _step_clocks(c) / hidden + _FIXED_CLOCKS) / _CLOCK
    summing = 0.0 if c.splits == 1 else c.splits * _PART_SECONDS + 2 * c.workspace_bytes / _BANDWIDTH
    return product + summing + (c.launches - 1) * LAUNCH_SECONDS


def direct_seconds(multiply_adds: float, dtype: str, architecture: Architecture) -> float:
    """The duration of work that is no product: multiply-adds by FFMA on all SMs, memory left aside."""
    lanes = multiply_rate("Ffma", dtype, architecture.sm)
    clocks = multiply_adds * _FFMA_SLOTS / (lanes * architecture.multiprocessors)
    return (clocks + _FIXED_CLOCKS) / _CLOCK


@lru_cache
def multiply_rate(multiply: str, dtype: str, sm: int) -> int:
    """Multiply-adds per clock of one SM by a policy."""
    capability = Architecture(sm, 1).capability
    return {
        "Ffma": capability.float64 if dtype == "float64" else capability.ffma,
        "Tf32": capability.mma_tf32,
        "Tf32x3": round(capability.mma_tf32 / 3),
        "Mma16bit": capability.mma_16bit,
        "Wgmma16bit": round(capability.mma_16bit * _WGMMA_GAIN),
        "WgmmaTf32": round(capability.mma_tf32 * _WGMMA_GAIN),
        "WgmmaTf32x3": round(capability.mma_tf32 * _WGMMA_GAIN / 3),
        "Dmma": capability.mma_float64,
    }[multiply]


def _step_clocks(c: Configuration) -> float:
    """Clocks that one block's step of the main loop takes one SM: of its tensor cores or multipliers, of the four
    schedulers, which issue an instruction each, or of shared memory."""
    products = c.tile.m * c.tile.n * c.k
    rate = multiply_rate(c.multiply, c.dtype, c.architecture.sm)
    warps, one = c.threads // 32, loops.step(c)
    return max(products / (rate * c.tile.efficiency), warps * one.slots / 4, warps * one.shared_clocks)
