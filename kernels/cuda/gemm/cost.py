"""How long a product takes, by estimate: the instructions of its main loop, the clocks they take, the seconds.

None of it was measured. The slots are counts of the compiled kernels' instructions.
"""

from __future__ import annotations

from functools import lru_cache

from .configuration import Architecture, Configuration, HaloConfiguration, WeightHaloConfiguration

LAUNCH_SECONDS = 4e-6
"""What another launch adds."""

# The slots to multiply, for 32 multiply-adds of a warp, ...
_MULTIPLY_SLOTS = {"Ffma": 1.25, "Tf32x3": 0.55, "Tf32": 0.30, "Mma16bit": 0.10, "Dmma": 0.40}
# ... and to fetch: a 16-byte word, one element through a window (more where it passes through registers), and a
# word of a halo, of which each element counts too.
_WORD_SLOTS, _ELEMENT_SLOTS, _SMALL_ELEMENT_SLOTS, _HALO_SLOTS, _HALO_ELEMENT_SLOTS = 8, 12, 17, 25, 5

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
    clocks = multiply_adds * _MULTIPLY_SLOTS["Ffma"] / (lanes * architecture.multiprocessors)
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
        "Dmma": capability.mma_float64,
    }[multiply]


def _step_clocks(c: Configuration) -> float:
    """Clocks that one block's step of the main loop takes one SM: multiplying, or issuing all instructions."""
    fetching = _a_slots(c) + c.tile.n * 4 * _WORD_SLOTS
    products = c.tile.m * c.tile.n * c.k
    issuing = (products * _MULTIPLY_SLOTS[c.multiply] + fetching) / 32 / 4  # slots of warps, 4 each clock
    rate = multiply_rate(c.multiply, c.dtype, c.architecture.sm)
    return max(products / (rate * c.tile.efficiency), issuing)


def _a_slots(c: Configuration) -> float:
    """Instructions of all threads to fetch a k-tile of A."""
    if isinstance(c, HaloConfiguration):
        return _halo_slots(c.tiles.pixels * c.k, c.itemsize) / c.tiles.taps
    if isinstance(c, WeightHaloConfiguration):
        return _halo_slots(c.tiles.pixels * c.channels, c.itemsize)
    if c.product.gathered:
        slots = _SMALL_ELEMENT_SLOTS if c.vector_a * c.itemsize == 2 else _ELEMENT_SLOTS
        return c.tile.m * c.k // c.vector_a * slots
    return c.tile.m * 4 * _WORD_SLOTS


def _halo_slots(elements: int, itemsize: int) -> int:
    """Instructions of all threads to fetch so many elements of a halo."""
    return elements * itemsize // 16 * (_HALO_SLOTS + 16 // itemsize * _HALO_ELEMENT_SLOTS)
