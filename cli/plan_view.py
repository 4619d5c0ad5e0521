"""The tables of `backstride plan`: one call in full, or a line for every layer of a benchmark suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..extras import needed_for
from ..kernels.cuda import ptxas
from ..kernels.cuda.devices import Gpu
from ..kernels.cuda.plan import CallPlan, KernelPlan

with needed_for("backstride plan"):
    from rich.console import Console
    from rich.table import Table


def print_call(found: CallPlan, title: str) -> None:
    table = Table(show_header=False, title=f"{title} on {_named(found.gpu)}")
    for kernel in found.kernels:
        for name, value in _kernel_rows(kernel):
            table.add_row(name, value)
        table.add_section()
    for name, value in _call_rows(found):
        table.add_row(name, value)
    _print(table, found.gpu)


def print_suite(rows: Iterable[tuple[str, CallPlan]], title: str, gpu: Gpu) -> None:
    """rows: each layer's name with the plan of one of its operations."""
    table = Table(title=f"{title} on {_named(gpu)}")
    left = ("layer", "operation", "tile")
    right = ("blocks", "threads", "shared KB", "regs", "spilled", "blocks/SM", "waves", "work MB", "GFLOP", "MB",
             "floor µs")  # fmt: skip
    for heading in left:
        table.add_column(heading, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right")
    shown = None
    for layer, found in rows:
        if layer != shown:
            table.add_section()
        main = max(found.kernels, key=_weight)
        table.add_row("" if layer == shown else layer, found.operation, _tile(main), *_figures(main, found))
        shown = layer
    _print(table, gpu)


def _weight(kernel: KernelPlan) -> tuple[bool, int]:
    """Which kernel of a call is its main one: a matrix product, or else the largest."""
    return "TILE_M" in kernel.launch.defines, kernel.launch.blocks * kernel.launch.threads


def _print(table: Table, gpu: Gpu) -> None:
    console = Console()
    if not console.is_terminal:  # piped output keeps its columns
        console = Console(width=180)
    console.print(table)
    console.print("Floors are published peaks (datasheets), not measurements.")
    reason = ptxas.unavailable(gpu.sm)
    if reason is not None:
        console.print(f"Registers, blocks per SM and waves are unknown: {reason}")


def _kernel_rows(kernel: KernelPlan) -> Iterator[tuple[str, str]]:
    launch, usage = kernel.launch, kernel.usage
    yield "kernel", launch.entry
    yield "tile", _tile(kernel)
    yield "variant", " ".join(f"{name}={value}" for name, value in launch.defines.items())
    yield "grid, block", f"{'x'.join(map(str, launch.grid))} blocks of {launch.threads} threads"
    yield "shared memory", f"{kernel.shared_bytes} bytes per block"
    if usage is not None:
        yield "registers", f"{usage.registers} per thread; spilled {usage.spill_bytes}, stack {usage.stack_bytes} bytes"
        yield "blocks per SM", str(kernel.blocks_per_sm)
        yield "waves", _waves(kernel)


def _tile(kernel: KernelPlan) -> str:
    """What of the result a block computes, m x n by steps of k (and a warp), or a thread, rows x columns."""
    defined = kernel.launch.defines
    if "TILE_M" in defined:
        return "{TILE_M}x{TILE_N}x{TILE_K} ({WARP_M}x{WARP_N})".format_map(defined)
    if "TILE_H" in defined:
        return "{TILE_H}x{TILE_W} per thread".format_map(defined)
    return ""


def _waves(kernel: KernelPlan) -> str:
    idle = kernel.gpu.multiprocessors - kernel.launch.blocks
    return f"{kernel.waves:.2f}" + (f" ({idle} SMs have no block)" if idle > 0 else "")


def _call_rows(found: CallPlan) -> Iterator[tuple[str, str]]:
    yield "workspace", f"{found.workspace_bytes} bytes"
    yield "FLOPs", f"{found.flops / 1e9:.4g} G"
    yield "least bytes", f"{found.least_bytes / 1e6:.4g} MB"
    yield "floor", f"{found.floor_seconds * 1e6:.3g} µs at {_bound(found)}"


def _bound(found: CallPlan) -> str:
    """The published peak that bounds the call."""
    if found.peak is not None and found.arithmetic_seconds > found.memory_seconds:
        return f"{found.peak / 1e12:.4g} TFLOP/s"
    return f"{found.gpu.bandwidth:g} GB/s"


def _figures(kernel: KernelPlan, found: CallPlan) -> Iterator[str]:
    """A suite row's figures: those of its largest kernel, then those of the whole call."""
    launch, usage = kernel.launch, kernel.usage
    yield str(launch.blocks)
    yield str(launch.threads)
    yield f"{kernel.shared_bytes / 1024:.3g}"
    yield str(usage.registers) if usage else "?"
    yield str(usage.spill_bytes) if usage else "?"
    yield _shown(kernel.blocks_per_sm)
    yield f"{kernel.waves:.2f}" if kernel.waves else "?"
    yield f"{found.workspace_bytes / 2**20:.3g}"
    yield f"{found.flops / 1e9:.3g}"
    yield f"{found.least_bytes / 1e6:.3g}"
    yield f"{found.floor_seconds * 1e6:.3g}"


def _shown(value: Any) -> str:
    return "?" if value is None else str(value)


def _named(gpu: Gpu) -> str:
    return f"{gpu.name} (sm_{gpu.sm}, {gpu.multiprocessors} SMs)"
