"""How many blocks of a kernel one multiprocessor (SM) holds at a time.

CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; the allocation units are those of the
CUDA occupancy calculator.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..gemm.tiles import Architecture

REGISTERS = 65536
"""Registers of one SM, on every architecture here."""


@dataclass(frozen=True)
class Limits:
    """What one SM holds at most; shared memory is Architecture.shared_bytes."""

    threads: int
    blocks: int
    reserved_shared_bytes: int  # of every block, for the driver


LIMITS = {
    75: Limits(1024, 16, 0),
    80: Limits(2048, 32, 1024),
    86: Limits(1536, 16, 1024),
    89: Limits(1536, 24, 1024),
    90: Limits(2048, 32, 1024),
    100: Limits(2048, 32, 1024),
    120: Limits(1536, 24, 1024),
}
"""By compute capability: the architectures that every kernel is compiled for."""


def blocks_per_sm(sm: int, threads: int, registers: int, shared_bytes: int) -> int:
    """Resident blocks per SM; 0 where one block is too large.

    threads and shared_bytes (static and dynamic) are per block, registers per thread.
    """
    limits = LIMITS[sm]
    warps = -(-threads // 32)
    # Each of an SM's four partitions has a quarter of its registers and gives them to warps 256 at a time.
    registers_per_warp = -(-registers * 32 // 256) * 256
    by_registers = 4 * (REGISTERS // 4 // registers_per_warp) // warps
    shared = -(-(shared_bytes + limits.reserved_shared_bytes) // 128) * 128
    by_shared = Architecture(sm, 1).shared_bytes // shared if shared else limits.blocks
    return min(limits.blocks, limits.threads // (32 * warps), by_registers, by_shared)
