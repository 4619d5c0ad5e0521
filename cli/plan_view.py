"""The tables of `backstride plan`: one call in full, or a line for every operation of a benchmark suite's layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .._extras import needed_for
from .._switch import environment
from ..kernels.cuda.gemm import cost
from ..kernels.cuda.gemm.configuration import Configuration
from ..kernels.cuda.gemm.tuned import described
from ..kernels.cuda.offline import ptxas
from ..kernels.cuda.offline.plan import CallPlan, KernelPlan, measured, measured_of, scored
from ..kernels.cuda.runtime.gpus import Gpu
from ..kernels.cuda.tuning.file import VARIABLE

with needed_for("backstride plan"):
    from rich import box
    from rich.console import Console
    from rich.table import Table

_WIDTH = 100

_NOTE = (
    "Predicted: modelled, from the instructions of the compiled kernels. Floor: by published peaks. "
    "Neither is measured."
)

Row = tuple[str, CallPlan]
"""A layer's name with the plan of one of its operations."""


def print_call(found: CallPlan, title: str) -> None:
    table = Table(show_header=False, title=f"{title} on {_named(found.gpu)}")
    for kernel in found.kernels:
        for name, value in _kernel_rows(kernel):
            table.add_row(name, value)
        table.add_section()
    for name, value in _call_rows(found):
        table.add_row(name, value)
    console = _console(_WIDTH)
    console.print(table)
    for product in found.products:
        console.print(_candidates(found, product))
    console.print(_NOTE)
    if any(map(measured_of, found.questions)):
        console.print(f"Tuned: measured on a GPU, from {environment(VARIABLE)}; it goes before the model.")
    _print_unknown(console, found.gpu)


def print_suite(rows: Iterable[Row], title: str, gpu: Gpu) -> None:
    """Which kernel runs, its predicted time, and how near that is to the floor."""
    title = f"{title} on {_named(gpu)}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for heading in ("layer\n  operation", "kernel"):
        table.add_column(heading, overflow="fold")  # in a narrow terminal, so that the figures stay whole
    table.add_column("tile\n/parts", no_wrap=True)
    for heading in ("predicted\nµs", "floor\nµs", "\nshare"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound\nby", no_wrap=True)
    totals: dict[str, tuple[float, float]] = {}
    for layer, found in _sections(table, rows):
        if layer:
            table.add_row(layer, style="bold")
        predicted, floor = found.predicted_seconds, found.floor_seconds
        before = totals.get(found.operation, (0.0, 0.0))
        totals[found.operation] = before[0] + predicted, before[1] + floor
        table.add_row(
            f"  {found.operation}",
            found.main.launch.entry,
            _short_tile(found.main.configuration),
            _microseconds(predicted),
            _microseconds(floor),
            f"{floor / predicted:.0%}",
            _bound_by(found),
        )
    _add_totals(table, totals)
    console = _console(_WIDTH)
    console.print(table)
    console.print(f"{_NOTE}\nShare: floor / predicted. Parts: into how many k is split.")


def _add_totals(table: Table, totals: dict[str, tuple[float, float]]) -> None:
    """Of each operation over all layers, predicted seconds and floor."""
    table.add_section()
    table.add_row("all layers", style="bold")
    for operation, (predicted, floor) in totals.items():
        figures = _microseconds(predicted), _microseconds(floor), f"{floor / predicted:.0%}"
        table.add_row(f"  {operation}", "", "", *figures, "")


def print_suite_resources(rows: Iterable[Row], title: str, gpu: Gpu) -> None:
    """What the compiler gives each operation's main kernel."""
    table = Table(title=f"{title} on {_named(gpu)}")
    left = ("layer", "operation", "tile")
    right = (
        "blocks",
        "threads",
        "shared KB",
        "regs",
        "spilled",
        "blocks/SM",
        "waves",
        "work MB",
        "GFLOP",
        "MB",
        "floor µs",
    )
    for heading in left:
        table.add_column(heading, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right")
    for layer, found in _sections(table, rows):
        table.add_row(layer, found.operation, _tile(found.main), *_figures(found))
    console = _console(180)
    console.print(table)
    _print_unknown(console, gpu)


def _sections(table: Table, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, a layer's name on its first one only and a line between layers; without calls that launch nothing."""
    shown = None
    for layer, found in rows:
        if not found.kernels:  # its result has no elements
            continue
        if shown not in (None, layer):
            table.add_section()
        yield "" if layer == shown else layer, found
        shown = layer


def _candidates(found: CallPlan, chosen: Configuration) -> Table:
    compared = scored(found, chosen)
    model, product = compared[0][0].architecture, chosen.product
    extents = f"m x n x k = {product.m} x {product.n} x {product.k}"
    if product.batch > 1:
        extents += f", {product.batch} times,"
    title = f"candidates for {extents}, scored for sm_{model.sm} with {model.multiprocessors} SMs"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for heading in ("", "by", "tile (warp)", "halo"):
        table.add_column(heading, no_wrap=True)
    timed = measured(found, chosen)
    headings = ["k\nparts", "blocks", "blocks\n/SM", "work\nMB", "predicted\nµs", *(["tuned\nµs"] if timed else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for c, is_chosen in compared:
        table.add_row(
            "chosen" if is_chosen else "",
            c.multiply,
            f"{c.tile.m}x{c.tile.n}x{c.k} ({c.tile.warp_m}x{c.tile.warp_n})",
            f"{c.halo.rows}x{c.halo.columns}" if c.halo else "",
            str(c.splits),
            str(c.blocks),
            str(c.blocks_per_sm),
            f"{c.workspace_bytes / 2**20:.3g}",
            _microseconds(cost.seconds(c)),
            *([_microseconds(timed[text]) if (text := str(described(c))) in timed else ""] if timed else []),
            style="bold" if is_chosen else "",
        )
    return table


def _console(least: int) -> Console:
    """Piped output keeps its columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=least, highlight=False)


def _print_unknown(console: Console, gpu: Gpu) -> None:
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
    if kernel.launch.is_product:
        return "{TILE_M}x{TILE_N}x{TILE_K} ({WARP_M}x{WARP_N})".format_map(defined)
    if "TILE_H" in defined:
        return "{TILE_H}x{TILE_W} per thread".format_map(defined)
    return ""


def _short_tile(c: Configuration | None) -> str:
    """The tile, and into how many parts k is split."""
    if c is None:
        return ""
    return f"{c.tile.m}x{c.tile.n}" + (f" /{c.splits}" if c.splits > 1 else "")


def _waves(kernel: KernelPlan) -> str:
    idle = kernel.gpu.multiprocessors - kernel.launch.blocks
    return f"{kernel.waves:.2f}" + (f" ({idle} SMs have no block)" if idle > 0 else "")


def _call_rows(found: CallPlan) -> Iterator[tuple[str, str]]:
    for question in found.questions:
        if question.direct is None:
            continue
        each = question.estimates()
        direct, product = _microseconds(each.direct), _microseconds(each.product)
        yield "few channels", f"{direct} µs by FFMA in a direct kernel, {product} µs as a product"
        if timed := measured_of(question):
            yield "tuned", _by_either(timed, str(described(question.direct)))
    yield "workspace", f"{found.workspace_bytes} bytes"
    yield "FLOPs", f"{found.flops / 1e9:.4g} G"
    yield "least bytes", f"{found.least_bytes / 1e6:.4g} MB"
    yield "floor", f"{found.floor_seconds * 1e6:.3g} µs at {_bound(found)}"
    share = found.floor_seconds / found.predicted_seconds
    model = "the selection model" if found.products or found.estimates else "bytes and multiply-adds alone"
    yield "predicted", f"{_microseconds(found.predicted_seconds)} µs by {model}; the floor is {share:.0%} of that"


def _by_either(timed: dict[str, float], direct: str) -> str:
    """What was measured of a direct kernel and of the product, as far as each was."""
    products = [seconds for text, seconds in timed.items() if text != direct]
    told = [f"{_microseconds(timed[direct])} µs by the direct kernel"] if direct in timed else []
    return ", ".join(told + ([f"{_microseconds(min(products))} µs as a product"] if products else []))


def _bound_by(found: CallPlan) -> str:
    """What the floor comes from."""
    return "FLOPs" if found.arithmetic_seconds > found.memory_seconds else "memory"


def _bound(found: CallPlan) -> str:
    """The published peak that bounds the call."""
    if found.peak is not None and _bound_by(found) == "FLOPs":
        return f"{found.peak / 1e12:.4g} TFLOP/s"
    return f"{found.gpu.bandwidth:g} GB/s"


def _figures(found: CallPlan) -> Iterator[str]:
    """A suite row's figures: those of its main kernel, then those of the whole call."""
    kernel = found.main
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


def _microseconds(seconds: float) -> str:
    """Three digits, and no more than a tenth: an estimate."""
    value = seconds * 1e6
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


def _shown(value: Any) -> str:
    return "?" if value is None else str(value)


def _named(gpu: Gpu) -> str:
    return f"{gpu.name} (sm_{gpu.sm}, {gpu.multiprocessors} SMs)"
