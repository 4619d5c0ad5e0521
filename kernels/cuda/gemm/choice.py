"""Which configuration a matrix product takes: functions of its extents, the dtype, the precision and the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ....backend import import_cupy
from ..runtime.gpus import compute_capability
from . import cost
from .configuration import (
    K_BYTES,
    Architecture,
    Configuration,
    Direct,
    HaloConfiguration,
    Product,
    Tile,
    WeightHaloConfiguration,
)
from .halo import halos, halos_of_every_row

WORKSPACE_LIMIT = 64 * 2**20  # bytes of partial sums

TILES = (
    Tile(128, 128, 64, 32, 0.85),
    Tile(128, 64, 64, 32, 0.80),
    Tile(64, 64, 32, 32, 0.70),
    Tile(128, 32, 32, 32, 0.65),
    Tile(32, 64, 32, 32, 0.55),
    Tile(128, 16, 32, 16, 0.50),
)
# Of 16-bit elements alone, whose fragments are small: a third less shared memory is read for each product.
LARGE_TILE = Tile(128, 128, 64, 64, 0.90)
# Two registers for each float64 accumulator: only the small warp parts.
FLOAT64_TILES = (Tile(128, 64, 32, 32, 0.80), Tile(64, 64, 32, 32, 0.75), Tile(128, 16, 32, 16, 0.50))

# Of four warps along m or eight, each of which multiplies all columns (src/wgmma.cuh).
WGMMA_TILES = (
    Tile(256, 128, 32, 128, 0.90),
    Tile(128, 128, 32, 128, 0.90),
    Tile(128, 64, 32, 64, 0.85),
    Tile(64, 128, 16, 128, 0.85),
    Tile(64, 64, 16, 64, 0.80),
)

# The same with two accumulators for each element.
WGMMA_FLOAT32_TILES = (
    Tile(128, 64, 32, 64, 0.85),
    Tile(64, 128, 16, 128, 0.85),
    Tile(64, 64, 16, 64, 0.80),
)

# Below this k three TF32 products are no more accurate than FFMA, and memory is the limit anyway.
_LEAST_K_FOR_TF32X3 = 64

# Of k, where the last of few waves of blocks would leave most SMs idle, as in layers of 7x7 pixels.
_FEW_PARTS, _FEW_WAVES = range(2, 9), 3

# By warpgroups, on sm_90 alone.
_WGMMA_POLICIES = {"Mma16bit": "Wgmma16bit", "Tf32": "WgmmaTf32", "Tf32x3": "WgmmaTf32x3"}
_HALO_POLICIES = ("Tf32", "Tf32x3", "Mma16bit")  # of forward convolutions; weight gradients: 16-bit elements alone


@lru_cache
def _architecture(device: int) -> Architecture:
    found = import_cupy().cuda.Device(device)
    return Architecture(int(found.compute_capability), found.attributes["MultiProcessorCount"])


def architecture_of(array: Any) -> Architecture:
    """The architecture of the device an array lives on."""
    return _architecture(array.device.id)


def multiply_policy(dtype: str, k: int, sm: int, precision: str) -> str:
    """The policy of src/ffma.cuh or src/mma.cuh that multiplies.

    precision: of float32, as precision.py names it; "auto" takes TF32 three times where that is faster than FFMA.
    """
    gpu = compute_capability(sm)
    if dtype == "float64":
        return "Dmma" if gpu.mma_float64 else "Ffma"
    if dtype in ("float16", "bfloat16"):
        return "Mma16bit" if gpu.mma_bfloat16 or (gpu.mma_16bit and dtype == "float16") else "Ffma"
    if precision == "ieee" or not gpu.mma_tf32:
        return "Ffma"
    if precision == "auto" and (not gpu.full_rate_tensor_cores or k < _LEAST_K_FOR_TF32X3):
        return "Ffma"
    return "Tf32" if precision == "tf32" else "Tf32x3"


def _policies(dtype: str, k: int, sm: int, precision: str) -> tuple[str, ...]:
    """multiply_policy's; FFMA too where "auto" leaves the choice, for not every tile is faster on tensor cores; and
    wgmma beside mma.sync."""
    first = multiply_policy(dtype, k, sm, precision)
    found = [first]
    if precision == "auto" and first == "Tf32x3":
        found.append("Ffma")
    if compute_capability(sm).wgmma and first in _WGMMA_POLICIES:
        found.append(_WGMMA_POLICIES[first])
    return tuple(found)


def _tiles(dtype: str, multiply: str) -> tuple[Tile, ...]:
    if dtype == "float64":
        return FLOAT64_TILES
    return (*TILES, LARGE_TILE) if multiply == "Mma16bit" else TILES


def candidates(product: Product, dtype: str, architecture: Architecture, precision: str) -> Iterator[Configuration]:
    """Every tile, whole and with k split in few parts, or so as to fill the SMs once, twice, ... to their capacity.

    A split leaves each block at least 8 steps, and the workspace its limit.
    """
    for multiply in _policies(dtype, product.k, architecture.sm, precision):
        yield from candidates_by(multiply, product, dtype, architecture)


def candidates_by(multiply: str, product: Product, dtype: str, architecture: Architecture) -> Iterator[Configuration]:
    """Those of one policy."""
    if multiply.startswith("Wgmma"):
        yield from _wgmma_candidates(multiply, product, dtype, architecture)
        return
    rest = (multiply, _stages(multiply, architecture), 1, architecture)
    g = product.convolution if multiply in _HALO_POLICIES else None
    for tile in _tiles(dtype, multiply):
        plain = Configuration(product, dtype, tile, *rest)
        if tile != LARGE_TILE or not (product.scattered or product.channels == 1):  # else registers do not suffice
            yield from _splits(plain)
        if g and not product.a_k_major:
            for halo in halos(g, tile.m):
                yield from _splits(HaloConfiguration(product, dtype, tile, *rest, halo))
    if g and product.a_k_major and multiply == "Mma16bit":
        for halo in halos(g, plain.k):
            for tile, channels in _weight_tiles(halo.taps):
                yield from _splits(WeightHaloConfiguration(product, dtype, tile, *rest, halo, channels))


def _wgmma_candidates(
    multiply: str, product: Product, dtype: str, architecture: Architecture
) -> Iterator[Configuration]:
    rest = (multiply, _stages(multiply, architecture), 1, architecture)
    g = None if product.a_k_major else product.convolution
    for tile in WGMMA_TILES if multiply == "Wgmma16bit" else WGMMA_FLOAT32_TILES:
        if product.n <= tile.n // 2:  # most of the columns would be for nothing
            continue
        whole = Configuration(product, dtype, tile, *rest)
        too_many = product.scattered and whole.k_bytes > K_BYTES and tile.m + tile.n > 128  # elements for a thread
        if not too_many and (whole.accumulators <= 64 or not whole.by_elements):  # else registers do not suffice
            yield from _splits(whole)
        found = halos_of_every_row if whole.pieces else halos
        for halo in found(g, tile.m) if g else ():
            yield from _splits(HaloConfiguration(product, dtype, tile, *rest, halo))


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
    multiprocessors, blocks = whole.architecture.multiprocessors, max(1, whole.blocks)
    filling = (fill * multiprocessors // blocks for fill in range(1, 2 * whole.blocks_per_sm + 1))
    few = _FEW_PARTS if blocks < _FEW_WAVES * multiprocessors else ()
    for splits in sorted({*few, *filling}):
        split = replace(whole, splits=splits)
        if 1 < splits <= whole.k_tiles // 8 and split.workspace_bytes <= WORKSPACE_LIMIT:
            yield split


def _stages(multiply: str, architecture: Architecture) -> int:
    """k-tiles in flight: without cp.async they wait in registers, and two buffers do; wgmma still reads one more."""
    if multiply == "Wgmma16bit":
        return 4
    return 3 if architecture.capability.cp_async else 2


# "ieee" promises the same bits on every GPU model: how k is split must not depend on it.
_IEEE_MODEL = Architecture(90, 132)


def model_architecture(dtype: str, architecture: Architecture, precision: str) -> Architecture:
    """The architecture that the candidates are scored on."""
    return _IEEE_MODEL if dtype == "float32" and precision == "ieee" else architecture


@lru_cache(maxsize=1024)
def choose(
    product: Product, dtype: str, architecture: Architecture, precision: str, one: Product | None = None
) -> Configuration:
    """The candidate with the least estimated time; the same for the same arguments, whatever the free memory.

    one: the same product of one image. It then decides how each element is summed up, and nothing is split.
    """
    found = _compared(product, dtype, architecture, precision, one)
    return _launchable(min(found, key=cost.seconds), architecture)


def alternatives(
    product: Product, dtype: str, architecture: Architecture, precision: str, one: Product | None = None
) -> list[Configuration]:
    """All that `choose` chooses among and that the device can run."""
    found = (_launchable(c, architecture) for c in _compared(product, dtype, architecture, precision, one))
    return [c for c in found if c.fits]


def direct_seconds(direct: Direct, dtype: str, architecture: Architecture, precision: str) -> float:
    """The estimated time of a direct kernel, in whole waves of blocks."""
    model = model_architecture(dtype, architecture, precision)
    blocks = -(-direct.blocks // model.multiprocessors) * model.multiprocessors
    return cost.direct_seconds(blocks * direct.multiply_adds, dtype, model)


def product_seconds(product: Product, dtype: str, architecture: Architecture, precision: str) -> float:
    """The estimated time of the fastest configuration."""
    return cost.seconds(choose(product, dtype, model_architecture(dtype, architecture, precision), precision))


def _compared(
    product: Product, dtype: str, architecture: Architecture, precision: str, one: Product | None
) -> list[Configuration]:
    model = model_architecture(dtype, architecture, precision)
    found = list(candidates(product, dtype, model, precision))
    return found if one is None else _summed_as(found, candidates(one, dtype, model, precision))


def _launchable(c: Configuration, architecture: Architecture) -> Configuration:
    """A candidate, scored where the model says, as it is launched here."""
    return replace(c, architecture=architecture, stages=_stages(c.multiply, architecture))


def _summed_as(found: list[Configuration], of_one: Iterator[Configuration]) -> list[Configuration]:
    """Those that sum up as the fastest whole candidate of one image does; of the next one where there is none."""
    wholes = sorted((c for c in of_one if c.splits == 1), key=cost.seconds)
    alike = ([c for c in found if c.summation == whole.summation] for whole in wholes)
    return next(filter(None, alike))
