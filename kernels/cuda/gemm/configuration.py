"""How a matrix product is launched: its extents, the tile that a block computes, the resources and #defines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...axis import Windowed
from ..runtime.gpus import REGISTERS, ComputeCapability, compute_capability
from ..runtime.loader import C_TYPES
from .halo import Halo

K_BYTES = 64
"""Of one row of a k-tile, as a rule."""

_STATIC_BYTES = 2 * 1024  # the most that tables of taps take
_MOST_PARTS = 3  # 16-byte words of a halo that a thread holds while they are on their way

# Threads that an SM's registers serve, with large (64x32) and small (32x32) warp parts.
_THREADS_PER_SM = {
    "Ffma": (512, 640),
    "Tf32": (256, 512),
    "Tf32x3": (256, 512),
    "Mma16bit": (256, 256),
    "Dmma": (384, 384),
}
# Of a thread beside its accumulators: with words that are copied, and with elements that are held on their way.
_WGMMA_REGISTERS, _WGMMA_ELEMENT_REGISTERS = 100, 140
_MOST_THREADS_WITHOUT_CP_ASYNC = 256  # with large warp parts: registers hold the next k-tile too


@dataclass(frozen=True)
class Architecture:
    """What the choice depends on: compute capability (90 for 9.0) and the number of multiprocessors (SMs)."""

    sm: int
    multiprocessors: int

    @property
    def capability(self) -> ComputeCapability:
        return compute_capability(self.sm)


@dataclass(frozen=True)
class Product:
    """The extents of `batch` matrix products C (m, n) = A (m, k) B (k, n), and how A and B lie in memory.

    a_k_major and b_k_major: contiguous along k rather than along m or n. m is the contiguous axis of C. gathered: A is
    an image seen through a window, fetched in words of at most so many elements; 0: A is a matrix. convolution: the one
    whose output pixels are m or, in a weight gradient (a_k_major), k; halo tiles are possible there. packed: the
    weights are first brought into the order of k by a launch of its own, as halo tiles want it anyway. channels: of an
    image seen through a window whose channels come last, which is fetched in words of at most so many of them; it is B,
    whose n are pixels, or in a weight gradient A, whose m are taps and channels; 0: there is none. scattered: A
    and B are images and are fetched by single elements, whose addresses take registers.
    """

    m: int
    n: int
    k: int
    batch: int
    a_k_major: bool
    b_k_major: bool
    gathered: int = 0
    convolution: Windowed | None = None
    packed: bool = False
    channels: int = 0
    scattered: bool = False

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
    def wgmma(self) -> bool:
        """Whether a policy of src/wgmma.cuh multiplies."""
        return self.multiply.startswith("Wgmma")

    @property
    def pieces(self) -> bool:
        """Whether wgmma reads the k-tiles as they come: in its pieces, and while the next one begins."""
        return self.multiply == "Wgmma16bit"

    @property
    def static_bytes(self) -> int:
        """The most static shared memory: tables of taps, and B as wgmma multiplies it where that is made here."""
        parts = {"WgmmaTf32": 1, "WgmmaTf32x3": 2}.get(self.multiply, 0)
        return _STATIC_BYTES + parts * self.tile.n * self.k_bytes

    @property
    def accumulators(self) -> int:
        """Of one thread."""
        return self.tile.warp_m * self.tile.warp_n // 32

    @property
    def by_elements(self) -> bool:
        """Whether an image passes through registers, element by element."""
        return self.halo is None and max(self.vector_a, self.product.channels) * self.itemsize == 2

    @property
    def k_bytes(self) -> int:
        """Of one row of a k-tile: for one TF32 product by wgmma twice as many, where registers suffice for the
        addresses of words, and a halo can be fetched in time."""
        gathered = self.product.gathered and self.halo is None
        wide = self.tile.m > 64 and (self.product.a_k_major or self.halo is not None)
        return 2 * K_BYTES if self.multiply == "WgmmaTf32" and not gathered and not wide else K_BYTES

    @property
    def k(self) -> int:
        """Elements of k in one step of the main loop."""
        return self.k_bytes // self.itemsize

    @property
    def summation(self) -> tuple[object, ...]:
        """What decides the bits of an element: how it is multiplied, and in which order its products are added."""
        return type(self), self.multiply, self.k, self.splits

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
        return 1 + self.product.packed + (self.splits > 1)

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
        if self.pieces:
            return rows * self.k_bytes + (self.k_bytes // 16 * 32 if k_major else rows // 8 * 16)
        padding = 16 if self.itemsize == 2 or (k_major and self.itemsize == 4) else 32
        return rows * (self.k_bytes + padding) if k_major else self.k * (rows * self.itemsize + padding)

    @property
    def blocks_per_sm(self) -> int:
        """Blocks that registers and shared memory allow on one SM; the compiler is held to these registers."""
        capability = self.architecture.capability
        block_bytes = self.shared_bytes + self.static_bytes + capability.reserved_shared_bytes
        by_shared = capability.shared_bytes // block_bytes
        return max(1, min(self._threads_per_sm // self.threads, by_shared))

    @property
    def _threads_per_sm(self) -> int:
        """That registers allow: fewer where a thread fetches many elements, each by itself, whose addresses it would
        spill."""
        if self.wgmma:
            further = _WGMMA_ELEMENT_REGISTERS if self.by_elements else _WGMMA_REGISTERS
            return REGISTERS // (self.accumulators * (1 if self.pieces else 2) + further)
        large, small = _THREADS_PER_SM["Dmma" if self.dtype == "float64" else self.multiply]
        if not self.architecture.capability.cp_async:
            large = min(large, _MOST_THREADS_WITHOUT_CP_ASYNC)
        threads = large if self.tile.warp_m * self.tile.warp_n > 1024 else small
        if self.multiply == "Ffma" and self.product.gathered == 1 and self.tile.m * self.k > 8 * self.threads:
            return min(threads, large)
        if self.multiply == "Ffma" and self.product.scattered and not self.product.gathered:
            return threads // 2
        return min(threads, 384) if self.multiply in ("Tf32", "Tf32x3") and self.threads == 64 else threads

    @property
    def workspace_bytes(self) -> int:
        return 0 if self.splits == 1 else self.splits * self.product.outputs * self.accumulator_size

    @property
    def vector_a(self) -> int:
        """Elements per word of A where it is gathered, 0 where it is a matrix."""
        return min(self.product.gathered, 16 // self.itemsize)

    def vector_b(self, most: int) -> int:
        """Elements per word of B, at most `most`: no more than a thread's share of its k-tile."""
        return min(most, self.tile.n * self.k // self.threads)

    def vector_c(self, run: int) -> int:
        """Elements per word of C, or of its partial sums, where runs of so many rows are neighbours in memory."""
        return vector(self.itemsize if self.splits == 1 else self.accumulator_size, run)

    @property
    def fits(self) -> bool:
        """The block's shared memory suffices."""
        return self.shared_bytes + self.static_bytes <= self.architecture.capability.block_shared_bytes

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
            "PIECES": int(self.pieces),
            "SPLIT": int(self.splits > 1),
        }


@dataclass(frozen=True)
class Direct:
    """A kernel that computes by FFMA what a product would, but is none: so many multiply-adds in each of its blocks."""

    kernel: str
    blocks: int
    multiply_adds: int

    @property
    def summation(self) -> tuple[object, ...]:
        """As a configuration's."""
        return (self.kernel,)


@dataclass(frozen=True)
class _ByHalo(Configuration):
    """A product whose A is read from halo tiles of output pixels."""

    @property
    def tiles(self) -> Halo:
        assert self.halo is not None
        return self.halo

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
        return 2 * self.tiles.pixels * (self.k_bytes + (0 if self.pieces else 16))

    @property
    def launches(self) -> int:
        """The weights are packed first."""
        return super().launches + (not self.product.packed)

    @property
    def fits(self) -> bool:
        """There also is time to fetch a halo while another one is multiplied."""
        taps = self.tiles.taps - self.pieces  # which still reads the halo before during the first of them
        return super().fits and self.tiles.pixels * self.k_bytes // 16 <= self.threads * taps


@dataclass(frozen=True)
class WeightHaloConfiguration(_ByHalo):
    """A weight gradient (src/weight_halo.cuh): a tile of pixels is a k-tile, all taps of some channels an m-tile."""

    channels: int = 16

    @property
    def summation(self) -> tuple[object, ...]:
        """Pixels are added tile by tile, too."""
        return *super().summation, self.tiles.rows, self.tiles.columns

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
    def parts(self) -> int:
        """Words of a halo for each thread."""
        return -(-self.tiles.pixels * self.channels * self.itemsize // (16 * self.threads))

    @property
    def fits(self) -> bool:
        """There also are registers for a halo on its way, beside which elements of dy may be: those of odd rows."""
        g, large = self.product.convolution, self.tile.warp_m * self.tile.warp_n > 2048
        most = 1 if large and g is not None and g.Q % 2 else _MOST_PARTS
        return super().fits and self.parts <= most

    @property
    def defines(self) -> dict[str, object]:
        return {**super().defines, "CHANNELS": self.channels, "HALO_PARTS": self.parts}


def vector(itemsize: int, *extents: int) -> int:
    """The most elements, in words of at most 16 bytes, that divide all these extents and strides."""
    count = 16 // itemsize
    while any(extent % count for extent in extents):
        count //= 2
    return count
