"""A run as a picture: the roofline, and our time over a peer's by operation."""

from __future__ import annotations

import io
import math
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .report import caveats, headline
from .results import Results, Row

FORMATS = (".png", ".pdf", ".svg")
DPI = 120
MARKERS = "os^Dv<>Pphd*X8"


def picture(results: Results) -> Figure:
    """Both charts; the ratios are left out where no peer was measured."""
    peers = [peer for peer in results.peers if results.means(peer)]
    figure = Figure(figsize=(15 if peers else 9, 6.5), layout="constrained")
    axes = figure.subplots(1, 2 if peers else 1, squeeze=False)[0]
    figure.suptitle("\n".join([headline(results), *caveats(results)]), fontsize=11)
    roofline(axes[0], results)
    if peers:
        ratios(axes[1], results, peers[0])
    return figure


def drawn(results: Results, ending: str = ".png") -> bytes:
    """A file with both charts, of the format that has this ending, one of FORMATS."""
    buffer = io.BytesIO()
    picture(results).savefig(buffer, format=ending.lower().removeprefix("."), dpi=DPI)
    return buffer.getvalue()


def roofline(axes: Axes, results: Results) -> None:
    """Operations per second over operations per byte, under the two measured ceilings. A mark is a shape."""
    rows = [row for row in results.rows if row.ours.decisive and row.bytes]
    for group, marker in zip(dict.fromkeys(row.group for row in rows), cycle(MARKERS), strict=False):
        marks = [row for row in rows if row.group == group]
        intensities = [row.flops / row.bytes for row in marks]
        axes.scatter(intensities, [_rate(row) for row in marks], s=34, marker=marker, alpha=0.8, label=group)
    low = min((row.flops / row.bytes for row in rows), default=0.1) / 2
    high = max((row.flops / row.bytes for row in rows), default=100.0) * 2
    for dtype, ceiling in results.ceilings.items():
        ridge = ceiling.flops / ceiling.bytes
        corners = sorted({low, min(max(ridge, low), high), high})
        heights = [min(ceiling.flops, x * ceiling.bytes) / 1e9 for x in corners]
        axes.plot(corners, heights, color="black", linewidth=1.5)
        label = f"{dtype}: product {ceiling.flops / 1e9:.0f} GFLOP/s, copy {ceiling.bytes / 1e9:.0f} GB/s"
        axes.annotate(label, (low, ceiling.flops / 1e9), xytext=(2, 4), textcoords="offset points", fontsize=8)
        axes.axhline(ceiling.flops / 1e9, color="grey", linewidth=0.6, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte (every input and output once)", ylabel="GFLOP/s")
    axes.set_title("Roofline: ours under the ceilings measured in the same run", fontsize=10)
    axes.grid(which="major", linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=8, loc="lower right")


def _rate(row: Row) -> float:
    return row.flops / row.seconds / 1e9


def ratios(axes: Axes, results: Results, peer: str) -> None:
    """A bar per operation: the geometric mean of our time over the peer's; a dot per shape."""
    means = results.means(peer)[::-1]
    for place, mean in enumerate(means):
        color = "tab:green" if mean.mean < 1 else "tab:red"
        axes.barh(place, mean.mean - 1, left=1, height=0.6, color=color, alpha=0.55)
        dots = [ratio.median for row in results.rows if row.group == mean.group and (ratio := row.ratio(peer))]
        axes.scatter(dots, [place] * len(dots), s=10, color="black", alpha=0.6, zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(means)), [f"{mean.group}  {mean.mean:.2f}" for mean in means], fontsize=9)
    axes.set_xscale("log")
    every = [ratio.median for row in results.rows if (ratio := row.ratio(peer))]
    axes.set_xlim(min(0.4, *every) / 1.3, max(2.0, *every) * 1.3)
    first, last = (math.log2(limit) for limit in axes.get_xlim())
    step = math.ceil((last - first) / 9)
    powers = [power for power in range(-32 * step, 33 * step, step) if first < power < last]
    axes.set_xticks(
        [2.0**power for power in powers], [f"{2**power}" if power >= 0 else f"1/{2**-power}" for power in powers]
    )
    axes.set_xticks([], minor=True)
    axes.set(xlabel=f"our time / {peer}'s; left of 1 we are faster")
    axes.set_title(f"{results.peers[peer]}: geometric mean (bar) and shapes (dots)", fontsize=10)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
