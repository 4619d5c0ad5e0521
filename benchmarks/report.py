"""A run's tables, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .results import Ratio, Results, Row


def figure(value: float, unit: str) -> str:
    """Three significant figures and the unit."""
    return f"{value:#.3g}".rstrip(".") + f" {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def seconds(value: float) -> str:
    """A duration in s, ms or µs."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if value * scale >= 1:
            return figure(value * scale, unit)
    return figure(value * 1e6, "µs")


def rate(row: Row, results: Results) -> str:
    """Operations per second, or bytes per second where the roofline says that memory bounds the row."""
    if results.ceilings[row.dtype].memory_bound(row.flops, row.bytes):
        return figure(row.bytes / row.seconds / 1e9, "GB/s")
    return figure(row.flops / row.seconds / 1e9, "GF/s")


def share(row: Row, results: Results) -> str:
    """What the row reached of its ceiling: the roofline over its time."""
    return f"{results.ceilings[row.dtype].floor(row.flops, row.bytes) / row.seconds:.0%}"


def spread(ratio: Ratio) -> str:
    return f"{ratio.low:.2f}-{ratio.high:.2f}"


def tables(results: Results, console: Console) -> RenderableType:
    """Everything a run has to say: what was measured beside what, every row, the means, and what is missing."""
    parts: list[RenderableType] = [Text(headline(results), style="bold"), Text("\n".join(legend(results)))]
    if results.rows:
        parts += [
            "",
            fitting(row_lines(results), console, droppable=("spread", "rate", "roof")),
            fitting(mean_lines(results), console, droppable=("noise", "shapes", "worst shape")),
        ]
    parts += [Text(line) for line in (*remarks(results), *caveats(results))]
    return Group(*parts)


def headline(results: Results) -> str:
    environment = results.environment
    device = environment["device"]
    where = device["name"] if device else f"{environment['processor']}, {environment['threads']} threads"
    return f"backstride {environment['backstride']}, {environment['backend']}: {where}"


def legend(results: Results) -> list[str]:
    lines = [f"{name}: {description}" for name, description in results.peers.items()]
    for dtype, ceiling in results.ceilings.items():
        product, copy = figure(ceiling.flops / 1e9, "GF/s"), figure(ceiling.bytes / 1e9, "GB/s")
        lines.append(f"roof: share of the ceiling, {dtype}: a large product {product}, a large copy {copy}")
    if results.peers:
        lines.append("ratio: our time / the peer's, below 1 we are faster; median and middle half of the pairs")
    return lines


Line = dict[str, str | Text]
"""A table's line: cells by column. A line of one cell is a heading."""


def row_lines(results: Results) -> list[Line]:
    """Every row, by operation: our time, what it reaches, the first peer's time, and our time over every peer's."""
    lines: list[Line] = []
    for group in results.groups:
        lines.append({"shape": Text(group, style="bold")})
        lines += [_row_line(row, results) for row in results.rows if row.group == group]
    return lines


def _row_line(row: Row, results: Results) -> Line:
    if row.fault is not None:
        return {"shape": row.shape, "ours": Text("wrong", style="bold red")}
    line: Line = {
        "shape": row.shape,
        "ours": seconds(row.seconds),
        "rate": rate(row, results),
        "roof": share(row, results),
    }
    for place, peer in enumerate(results.peers):
        ratio = row.ratio(peer)
        if place == 0:
            line[peer] = seconds(median(row.peers[peer].decisive)) if ratio else "-"
            line["ratio"] = ratio_text(ratio)
            line["spread"] = spread(ratio) if ratio else "-"
        else:
            line[peer] = ratio_text(ratio)
    return line


def mean_lines(results: Results) -> list[Line]:
    """Geometric means of the ratios by operation; the worst shape and the noise floor are the first peer's."""
    means = {peer: {mean.group: mean for mean in results.means(peer)} for peer in results.peers}
    lines: list[Line] = []
    for group in results.groups:
        found = [by_group[group] for by_group in means.values() if group in by_group]
        if not found:
            continue
        first, noise = found[0], results.noise.get(group)
        line: Line = {"geometric means": group, "shapes": str(first.shapes)}
        for peer, by_group in means.items():
            line[peer] = ratio_text(by_group[group].mean) if group in by_group else "-"
        line |= {"noise": spread(noise) if noise else "-", "worst": ratio_text(first.worst)}
        lines.append(line | {"worst shape": first.worst_shape})
    return lines


def fitting(lines: Sequence[Line], console: Console, droppable: Sequence[str]) -> Table:
    """A table of the lines, without the first of the droppable columns where the console is too narrow for all."""
    columns = max(lines, key=len, default={})
    for count in range(len(droppable) + 1):
        table = _table([column for column in columns if column not in droppable[:count]], lines)
        if console.measure(table, options=console.options.update_width(1000)).maximum <= console.width:
            break
    return table


def _table(columns: Sequence[str], lines: Iterable[Line]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        text = place == 0 or column == "worst shape"
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    for line in lines:
        if len(line) == 1:
            table.add_section()
        table.add_row(*(line.get(column, "") for column in columns))
    return table


def ratio_text(ratio: Ratio | float | None) -> Text:
    if ratio is None:
        return Text("-")
    value = ratio.median if isinstance(ratio, Ratio) else ratio
    return Text(f"{value:.2f}", style="green" if value < 1 else "red")


def caveats(results: Results) -> list[str]:
    """What a reader must know before the figures are believed."""
    lines = [f"wrong: {row.operation} {row.shape}: {row.fault}" for row in results.rows if row.fault is not None]
    noisy = [group for group, noise in results.noise.items() if noise.high > 1.25 * noise.low]
    if len(noisy) > len(results.noise) / 4:
        load, cores = results.environment["load"], results.environment["cores"]
        lines.append(
            f"not to be trusted: {len(noisy)} of {len(results.noise)} noise floors are wider than a quarter (the load"
            f" average was {load} on {cores} cores); run again when the machine is quiet"
        )
    if not results.complete:
        lines.append("interrupted: these are the rows that were done")
    return lines


def remarks(results: Results) -> list[str]:
    """What explains the figures, and what is missing."""
    lines: list[str] = []
    if results.noise:
        lines.append(f"noise: {next(iter(results.peers))} timed against itself, middle half of the pairs, one shape")
    declined: dict[tuple[str, str], list[str]] = {}
    for row in results.rows:
        for peer, note in row.notes.items():
            declined.setdefault((peer, note), []).append(row.operation)
    for (peer, note), operations in declined.items():
        lines.append(f"no {peer} for {', '.join(dict.fromkeys(operations))}: {note}")
    lines += [f"missing: {peer}: {why}" for peer, why in results.missing.items()]
    return lines
