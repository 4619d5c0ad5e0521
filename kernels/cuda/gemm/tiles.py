"""Which tile, how many blocks and how much memory a matrix product takes: functions of extents, dtype and device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from ....backend import import_cupy
from ...axis import Windowed
from ..runtime.loader import C_TYPES
from .halo import Halo, halos

WORKSPACE_LIMIT = 64 * 2**20  # bytes of partial sums


@dataclass(frozen=True)
class Architecture:
    """What the choice depends on: compute capability (90 for 9.0) and the number of multiprocessors (SMs)."""

    sm: int
    multiprocessors: int

    @property
    def shared_bytes(self) -> int:
        """Shared memory of one SM (CUDA C++ Programming Guide, table of technical specifications)."""
        kib = {75: 64, 80: 164, 86: 100, 87: 164, 89: 100, 120: 100, 121: 100}.get(self.sm, 228)
        return kib * 1024


@lru_cache
def _architecture(device: int) -> Architecture:
    found = import_cupy().cuda.Device(device)
    return Architecture(int(found.compute_capability), found.attributes["MultiProcessorCount"])


def architecture_of(array: Any) -> Architecture:
    """The architecture of the device an array lives on."""
    return _architecture(array.device.id)


@dataclass(frozen=True)
class Product:
    """The extents of `batch` matrix products C (m, n) = A (m, k) B (k, n), and how A and B lie in memory.

    a_k_major and b_k_major: contiguous along k rather than along m or n. m is the contiguous axis of C. gathered: A is
    an image seen through a window, fetched in words of at most so many elements; 0: A is a matrix. convolution: the one
    whose output pixels are m or, in a weight gradient (a_k_major), k; halo tiles are possible there.
    """

    m: int
    n: int
    k: int
    batch: int
    a_k_major: bool
    b_k_major: bool
    gathered: int = 0
    convolution: Windowed | None = None

    @property
    def outputs(self) -> int:
        return self.m * self.n * self.batch


@dataclass(frozen=True)
class Tile:
    """The part of C that a block computes, and the part of that which each of its warps does.

    efficiency: the share of the peak it can reach, an estimate: larger tiles load less for each multiplication.
    """

    m: int
    n: int
    warp_m: int
    warp_n: int
    efficiency: float

    @property
    def threads(self) -> int:
        return 32 * (self.m // self.warp_m) * (self.n // self.warp_n)


TILES = (
    Tile(128, 128, 64, 32, 0.85),
    Tile(128, 64, 64, 32, 0.80),
    Tile(64, 64, 32, 32, 0.70),
    Tile(128, 32, 32, 32, 0.65),
    Tile(32, 64, 32, 32, 0.55),
    Tile(128, 16, 32, 16, 0.50),
)
# Two registers for each float64 accumulator: only the small warp parts.
FLOAT64_TILES = (Tile(128, 64, 32, 32, 0.80), Tile(64, 64, 32, 32, 0.75), Tile(128, 16, 32, 16, 0.50))

# Data-center GPUs, whose tensor cores do TF32 at 8 times the rate of FFMA, and float64 at all.
_FULL_RATE_TENSOR_CORES = (80, 90, 100)

# Below this k three TF32 products are no more accurate than FFMA, and memory is the limit anyway.
_LEAST_K_FOR_TF32X3 = 64

# Threads that an SM's registers serve, with large (64x32) and small (32x32) warp parts.
_THREADS_PER_SM = {
    "Ffma": (512, 640),
    "Tf32": (256, 512),
    "Tf32x3": (256, 512),
    "Mma16bit": (256, 256),
    "Dmma": (384, 384),
}

# Multiply-adds per clock of one SM by architecture and, under None, elsewhere: datasheet peaks, for sm_90 and sm_100
# times the 0.63 that mma.sync reaches there ("Dissecting the NVIDIA Hopper Architecture", arXiv 2501.12084).
_RATES: dict[str, dict[int | None, float]] = {
    "Ffma": {75: 64, 80: 64, None: 128},
    "Tf32x3": {80: 171, 90: 224, 100: 224, None: 43},
    "Tf32": {80: 512, 90: 672, 100: 672, None: 128},
    "Mma16bit": {75: 512, 80: 1024, 90: 1344, 100: 1344, None: 512},
    "Dmma": {80: 64, 90: 128, 100: 64, None: 2},
}
_FLOAT64_LANES = {80: 32, 90: 64, 100: 64}  # 2 elsewhere

_HALO_POLICIES = ("Tf32", "Tf32x3", "Mma16bit")  # of forward convolutions; weight gradients: 16-bit elements alone
_MOST_PARTS = 3  # 16-byte words of a halo that a thread holds while they are on their way

# Estimates from the instructions of the compiled kernels: those to multiply, for 32 multiply-adds of a warp, ...
_MULTIPLY_SLOTS = {"Ffma": 1.25, "Tf32x3": 0.55, "Tf32": 0.30, "Mma16bit": 0.10, "Dmma": 0.40}
# ... and to fetch: a 16-byte word, one element through a window (more where it passes through registers), and a
# word of a halo, of which each element counts too.
_WORD_SLOTS, _ELEMENT_SLOTS, _SMALL_ELEMENT_SLOTS, _HALO_SLOTS, _HALO_ELEMENT_SLOTS = 8, 12, 17, 25, 5

# Further estimates: clocks to fill the pipeline and store C, the duration of another launch and of each part it adds,
# and the bandwidth that partial sums have.
_FIXED_CLOCKS = 2000
LAUNCH_SECONDS = 4e-6
_PART_SECONDS = 15e-9
_CLOCK = 1.7e9
_BANDWIDTH = 3.0e12

_K_BYTES = 64  # of one row of a k-tile


@dataclass(frozen=True)
class Configuration:
    """How one product is launched; in the subclasses A is read from halo tiles."""

    product: Product
    dtype: str
    tile: Tile
    multiply: str
    stages: int
    splits: int
    architecture: Architecture
    halo: Halo | None = None

    @property
    def itemsize(self) -> int:
        return {"float64": 8, "float32": 4}.get(self.dtype, 2)

    @property
    def accumulator_size(self) -> int:
        return max(4, self.itemsize)

    @property
    def k(self) -> int:
        """Elements of k in one step of the main loop."""
        return _K_BYTES // self.itemsize

    @property
    def m_tiles(self) -> int:
        return -(-self.product.m // self.tile.m)

    @property
    def n_tiles(self) -> int:
        return -(-self.product.n // self.tile.n)

    @property
    def k_units(self) -> int:
        """What k is split in among blocks."""
        return -(-self.product.k // self.k)

    @property
    def unit_steps(self) -> int:
        """Steps of the main loop for each unit of k."""
        return 1

    @property
    def k_tiles(self) -> int:
        return self.k_units * self.unit_steps

    @property
    def launches(self) -> int:
        return 1 if self.splits == 1 else 2

    @property
    def blocks(self) -> int:
        return self.m_tiles * self.n_tiles * self.product.batch * self.splits

    @property
    def threads(self) -> int:
        return self.tile.threads

    @cached_property
    def shared_bytes(self) -> int:
        """Dynamic shared memory: the stages, and in the same place afterwards the slabs C is stored through."""
        stages = self.stages * self._image(self.tile.n, self.product.b_k_major) + self.a_bytes
        slabs = self.threads // 32 * 16 * (self.tile.warp_m + 4) * self.accumulator_size
        return max(stages, slabs)

    @property
    def a_bytes(self) -> int:
        """Shared memory of A's stages."""
        return self.stages * self._image(self.tile.m, self.product.a_k_major)

    def _image(self, rows: int, k_major: bool) -> int:
        """Bytes of one operand's k-tile: gemm.cuh, Image."""
        padding = 16 if self.itemsize == 2 or (k_major and self.itemsize == 4) else 32
        return rows * (_K_BYTES + padding) if k_major else self.k * (rows * self.itemsize + padding)

    @property
    def blocks_per_sm(self) -> int:
        """Blocks that registers and shared memory allow on one SM; the compiler is held to these registers."""
        large, small = _THREADS_PER_SM["Dmma" if self.dtype == "float64" else self.multiply]
        threads = large if self.tile.warp_m * self.tile.warp_n > 1024 else small
        reserved = 3 * 1024  # the driver's share and the tables of taps
        by_shared = self.architecture.shared_bytes // (self.shared_bytes + reserved)
        return max(1, min(threads // self.threads, by_shared))

    @property
    def workspace_bytes(self) -> int:
        return 0 if self.splits == 1 else self.splits * self.product.outputs * self.accumulator_size

    @property
    def rate(self) -> float:
        """Multiply-adds per clock of one SM."""
        sm = self.architecture.sm
        if self.multiply == "Ffma" and self.dtype == "float64":
            return _FLOAT64_LANES.get(sm, 2)
        return _rate(self.multiply, sm)

    @property
    def step_clocks(self) -> float:
        """Clocks that one block's step of the main loop takes one SM: multiplying, or issuing all instructions."""
        tile = self.tile
        fetching = self.a_slots + tile.n * 4 * _WORD_SLOTS
        products = tile.m * tile.n * self.k
        issuing = (products * _MULTIPLY_SLOTS[self.multiply] + fetching) / 32 / 4  # slots of warps, 4 each clock
        return max(products / (self.rate * tile.efficiency), issuing)

    @property
    def a_slots(self) -> float:
        """Instructions of all threads to fetch a k-tile of A."""
        if self.product.gathered:
            slots = _SMALL_ELEMENT_SLOTS if self.vector_a * self.itemsize == 2 else _ELEMENT_SLOTS
            return self.tile.m * self.k // self.vector_a * slots
        return self.tile.m * 4 * _WORD_SLOTS

    @property
    def seconds(self) -> float:
        """Estimated duration: the busiest SM's blocks, and the sum of the partial results."""
        on_one_sm = max(1, -(-self.blocks // self.architecture.multiprocessors))  # an empty product has no block
        warps = min(on_one_sm, self.blocks_per_sm) * self.threads // 32
        hidden = warps / (warps + 2)  # of the latency, by switching between warps
        steps = -(-self.k_units // self.splits) * self.unit_steps
        product = on_one_sm * (steps * self.step_clocks / hidden + _FIXED_CLOCKS) / _CLOCK
        if self.splits == 1:
            return product
        return product + LAUNCH_SECONDS + self.splits * _PART_SECONDS + 2 * self.workspace_bytes / _BANDWIDTH

    @property
    def vector_a(self) -> int:
        """Elements per word of A where it is gathered, 0 where it is a matrix."""
        return min(self.product.gathered, 16 // self.itemsize)

    def vector_b(self, most: int) -> int:
        """Elements per word of B, at most `most`: no more than a thread's share of its k-tile."""
        return min(most, self.tile.n * self.k // self.threads)

    @property
    def fits(self) -> bool:
        """The block's shared memory suffices."""
        return self.shared_bytes + 3 * 1024 <= self.architecture.shared_bytes

    @property
    def defines(self) -> dict[str, object]:
        return {
            "TYPE": C_TYPES[self.dtype],
            "MULTIPLY": self.multiply,
            "TILE_M": self.tile.m,
            "TILE_N": self.tile.n,
            "TILE_K": self.k,
            "WARP_M": self.tile.warp_m,
            "WARP_N": self.tile.warp_n,
            "THREADS": self.threads,
            "BLOCKS_PER_SM": self.blocks_per_sm,
            "STAGES": self.stages,
            "SPLIT": int(self.splits > 1),
        }


def _rate(multiply: str, sm: int) -> float:
    rates = _RATES[multiply]
    return rates.get(sm, rates[None])


@dataclass(frozen=True)
class _ByHalo(Configuration):
    """A product whose A is read from halo tiles of output pixels."""

    @property
    def tiles(self) -> Halo:
        assert self.halo is not None
        return self.halo

    def _halo_slots(self, channels: int) -> int:
        """Instructions of all threads to fetch so many channels of a halo."""
        words = self.tiles.pixels * channels * self.itemsize // 16
        return words * (_HALO_SLOTS + 16 // self.itemsize * _HALO_ELEMENT_SLOTS)

    @property
    def defines(self) -> dict[str, object]:
        return {**super().defines, "TILE_COLUMNS": self.tiles.columns}


@dataclass(frozen=True)
class HaloConfiguration(_ByHalo):
    """A convolution (src/halo.cuh): a tile of pixels is an m-tile, and k is split in blocks of channels, all taps."""

    @property
    def m_tiles(self) -> int:
        return self.tiles.number

    @property
    def k_units(self) -> int:
        return -(-self.product.k // (self.tiles.taps * self.k))

    @property
    def unit_steps(self) -> int:
        return self.tiles.taps

    @property
    def a_bytes(self) -> int:
        return 2 * self.tiles.pixels * (_K_BYTES + 16)

    @property
    def a_slots(self) -> float:
        return self._halo_slots(self.k) / self.tiles.taps

    @property
    def seconds(self) -> float:
        return super().seconds + LAUNCH_SECONDS

    @property
    def launches(self) -> int:
        """The weights are packed first."""
        return super().launches + 1

    @property
    def fits(self) -> bool:
        """There also is time to fetch a halo while another one is multiplied."""
        return super().fits and self.tiles.pixels * 4 <= self.threads * self.tiles.taps


@dataclass(frozen=True)
class WeightHaloConfiguration(_ByHalo):
    """A weight gradient (src/weight_halo.cuh): a tile of pixels is a k-tile, all taps of some channels an m-tile."""

    channels: int = 16

    @property
    def m_tiles(self) -> int:
        return -(-self.product.m // (self.channels * self.tiles.taps))

    @property
    def k_units(self) -> int:
        return self.tiles.number

    @property
    def a_bytes(self) -> int:
        return self.stages * self.tiles.pixels * (self.channels + 8) * self.itemsize

    @property
    def a_slots(self) -> float:
        return self._halo_slots(self.channels)

    @property
    def parts(self) -> int:
        """Words of a halo for each thread."""
        return -(-self.tiles.pixels * self.channels * self.itemsize // (16 * self.threads))

    @property
    def fits(self) -> bool:
        """There also are registers for a halo on its way."""
        return super().fits and self.parts <= _MOST_PARTS

    @property
    def defines(self) -> dict[str, object]:
        return {**super().defines, "CHANNELS": self.channels, "HALO_PARTS": self.parts}


def multiply_policy(dtype: str, k: int, sm: int, precision: str) -> str:
    """The policy of src/ffma.cuh or src/mma.cuh that multiplies.

    precision: of float32, as precision.py names it; "auto" takes TF32 three times where that is faster than FFMA.
    """
    if dtype == "float64":
        return "Dmma" if sm in _FULL_RATE_TENSOR_CORES else "Ffma"
    if dtype in ("float16", "bfloat16"):
        return "Mma16bit" if sm >= 80 or dtype == "float16" else "Ffma"
    if sm < 80 or precision == "ieee":
        return "Ffma"
    if precision == "auto" and (sm not in _FULL_RATE_TENSOR_CORES or k < _LEAST_K_FOR_TF32X3):
        return "Ffma"
    return "Tf32" if precision == "tf32" else "Tf32x3"


def candidates(product: Product, dtype: str, architecture: Architecture, precision: str) -> Iterator[Configuration]:
    """Every tile, whole and with k split so as to fill the SMs once, twice, ... to their capacity.

    A split leaves each block at least 8 steps, and the workspace its limit.
    """
    multiply = multiply_policy(dtype, product.k, architecture.sm, precision)
    rest = (multiply, _stages(architecture), 1, architecture)
    g = product.convolution if multiply in _HALO_POLICIES else None
    for tile in FLOAT64_TILES if dtype == "float64" else TILES:
        plain = Configuration(product, dtype, tile, *rest)
        yield from _splits(plain)
        if g and not product.a_k_major:
            for halo in halos(g, tile.m):
                yield from _splits(HaloConfiguration(product, dtype, tile, *rest, halo))
    if g and product.a_k_major and multiply == "Mma16bit":
        for halo in halos(g, plain.k):
            for tile, channels in _weight_tiles(halo.taps):
                yield from _splits(WeightHaloConfiguration(product, dtype, tile, *rest, halo, channels))


def _weight_tiles(taps: int) -> Iterator[tuple[Tile, int]]:
    """The tiles of a weight gradient by halo tiles, and their channels.

    A warp has 3 to 5 taps of 16 channels each, so that the fewest rows of the tile are for nothing.
    """
    for channels in (16, 32):
        rows = taps * channels // 16
        each = min((3, 4, 5), key=lambda each: -rows % each)
        for n, warp_n, efficiency in ((128, 64, 0.85), (64, 64, 0.80), (64, 32, 0.70), (32, 32, 0.60)):
            tile = Tile(-(-rows // each) * each * 16, n, each * 16, warp_n, efficiency)
            if max(64, n) <= tile.threads <= 256 and tile.warp_m * warp_n <= 3072:  # as registers allow
                yield tile, channels


def _splits(whole: Configuration) -> Iterator[Configuration]:
    if not whole.fits:
        return
    yield whole
    for fill in range(1, 2 * whole.blocks_per_sm + 1):
        splits = fill * whole.architecture.multiprocessors // max(1, whole.blocks)
        split = replace(whole, splits=splits)
        if 1 < splits <= whole.k_tiles // 8 and split.workspace_bytes <= WORKSPACE_LIMIT:
            yield split


def _stages(architecture: Architecture) -> int:
    """k-tiles in flight: without cp.async (before sm_80) they wait in registers, and two buffers do."""
    return 3 if architecture.sm >= 80 else 2


# "ieee" promises the same bits on every GPU model: how k is split must not depend on it.
_IEEE_MODEL = Architecture(90, 132)


def model_architecture(dtype: str, architecture: Architecture, precision: str) -> Architecture:
    """The architecture that the candidates are scored on."""
    return _IEEE_MODEL if dtype == "float32" and precision == "ieee" else architecture


@lru_cache(maxsize=1024)
def choose(product: Product, dtype: str, architecture: Architecture, precision: str) -> Configuration:
    """The candidate with the least estimated time; the same for the same arguments, whatever the free memory."""
    model = model_architecture(dtype, architecture, precision)
    best = min(candidates(product, dtype, model, precision), key=lambda c: c.seconds)
    return replace(best, architecture=architecture, stages=_stages(architecture))


def direct_seconds(multiply_adds: float, dtype: str, architecture: Architecture) -> float:
    """Estimated duration of work that is no product: multiply-adds by FFMA on all SMs, memory left aside."""
    lanes = _FLOAT64_LANES.get(architecture.sm, 2) if dtype == "float64" else _rate("Ffma", architecture.sm)
    clocks = multiply_adds * _MULTIPLY_SLOTS["Ffma"] / (lanes * architecture.multiprocessors)
    return (clocks + _FIXED_CLOCKS) / _CLOCK


def vector(itemsize: int, *extents: int) -> int:
    """The most elements, in words of at most 16 bytes, that divide all these extents and strides."""
    count = 16 // itemsize
    while any(extent % count for extent in extents):
        count //= 2
    return count
