"""Tables as HTML: what notebooks show, and the page of `bench`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Line = Mapping[str, Any]
"""A row's cells by column; a row of one cell is a heading. A cell whose `style` is green or red is shown so."""


def table(lines: Sequence[Line], caption: str = "") -> str:
    columns = max(lines, key=len, default={})
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f"<table>{title}<tr>{head}</tr>{''.join(_row(line, columns) for line in lines)}</table>"


def _row(line: Line, columns: Iterable[str]) -> str:
    kind = " class='heading'" if len(line) == 1 else ""
    cells = (line.get(column, "") for column in columns)
    return f"<tr{kind}>{''.join(f'<td{_class(cell)}>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _class(cell: object) -> str:
    style = str(getattr(cell, "style", ""))
    return f" class='{style}'" if style in ("green", "red") else ""
