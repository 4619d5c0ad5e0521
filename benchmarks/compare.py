"""Two runs side by side: before and after a change."""

from __future__ import annotations

import math
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.text import Text

from .report import Line, fitting, headline, ratio_text, seconds
from .results import Results, Row

Pairs = list[tuple[Row, Row]]


def pairs(before: Results, after: Results) -> Pairs:
    """The cases that both runs timed, in the order of the second."""
    known = {_key(row): row for row in before.rows if row.ours.decisive}
    return [(known[_key(row)], row) for row in after.rows if row.ours.decisive and _key(row) in known]


def _key(row: Row) -> tuple[str, ...]:
    return row.suite, row.operation, row.shape, row.dtype


def comparison(before: Results, after: Results, console: Console) -> RenderableType:
    """A table of the common cases, the geometric mean by operation, and what differs between the two machines.

    Two runs on one machine differ by its load as well; beside a peer that both measured, the ratios to that peer are
    the fairer comparison.
    """
    common = pairs(before, after)
    peer = next((name for name in before.peers if name in after.peers), None)
    parts: list[RenderableType] = [Text(f"before: {headline(before)}\nafter:  {headline(after)}")]
    if common:
        lines = [line for group in after.groups for line in _group_lines(group, common, peer)]
        parts.append(fitting(lines, console, droppable=("before", "after")))
    else:
        parts.append(Text("the two runs have no case in common"))
    parts += [Text(line) for line in differences(before, after)]
    return Group(*parts)


def _group_lines(group: str, common: Pairs, peer: str | None) -> list[Line]:
    chosen = [(a, b) for a, b in common if b.group == group]
    if not chosen:
        return []
    changes = [b.seconds / a.seconds for a, b in chosen]
    mean = math.exp(sum(map(math.log, changes)) / len(changes))
    rows = [_line(a, b, change, peer) for (a, b), change in zip(chosen, changes, strict=True)]
    return [{"shape": Text(group, style="bold")}, *rows, {"shape": "geometric mean", "change": ratio_text(mean)}]


def _line(before: Row, after: Row, change: float, peer: str | None) -> Line:
    line: Line = {
        "shape": after.shape,
        "before": seconds(median(before.ours.decisive)),
        "after": seconds(median(after.ours.decisive)),
        "change": ratio_text(change),
    }
    if peer is not None:
        line[f"before/{peer}"] = ratio_text(before.ratio(peer))
        line[f"after/{peer}"] = ratio_text(after.ratio(peer))
    return line


def differences(before: Results, after: Results) -> list[str]:
    """Whatever, beside the code, was not the same in the two runs."""
    apart = {
        f"{part} {key}": (a[key], b[key])
        for part, a, b in (
            ("environment", before.environment, after.environment),
            ("setting", before.settings, after.settings),
        )
        for key in a.keys() & b.keys() - {"date", "commit", "backstride", "load"}
        if a[key] != b[key]
    }
    missing = len(after.rows) - len(pairs(before, after))
    lines = [f"{name} differs: {a} before, {b} after" for name, (a, b) in sorted(apart.items())]
    return [*lines, f"{missing} cases were timed in one run only"] if missing else lines
