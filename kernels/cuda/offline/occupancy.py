"""How many blocks of a kernel one multiprocessor (SM) holds at a time."""

from __future__ import annotations

from ..runtime.gpus import REGISTERS, WARP_REGISTER_UNIT, compute_capability


def blocks_per_sm(sm: int, threads: int, registers: int, shared_bytes: int) -> int:
    """Resident blocks per SM; 0 where one block is too large.

    threads and shared_bytes (static and dynamic) are per block, registers per thread.
    """
    gpu = compute_capability(sm)
    if shared_bytes > gpu.block_shared_bytes:
        return 0
    warps = -(-threads // 32)
    # Each of an SM's partitions has its part of the registers.
    registers_per_warp = _round_up(registers * 32, WARP_REGISTER_UNIT)
    by_registers = gpu.partitions * (REGISTERS // gpu.partitions // registers_per_warp) // warps
    shared = _round_up(shared_bytes + gpu.reserved_shared_bytes, gpu.shared_unit)
    by_shared = gpu.shared_bytes // shared if shared else gpu.blocks
    return min(gpu.blocks, gpu.threads // (32 * warps), by_registers, by_shared)


def _round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit
