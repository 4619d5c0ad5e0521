"""Halo tiles: output pixels of a convolution as rows by columns, and the input pixels they read (src/halo.cuh)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...axis import Windowed


@dataclass(frozen=True)
class Halo:
    """A block's rows x columns of output pixels; the most rows and the columns of input that they read; their number.

    Output rows are numbered through all images, and so are the `reach` input rows that the windows of one image read.
    taps: of one window.
    """

    rows: int
    columns: int
    input_rows: int
    input_columns: int
    reach: int
    taps: int
    row_tiles: int
    column_tiles: int

    @property
    def pixels(self) -> int:
        return self.input_rows * self.input_columns

    @property
    def number(self) -> int:
        return self.row_tiles * self.column_tiles


def halos(g: Windowed, outputs: int) -> Iterator[Halo]:
    """Every shape of a halo tile with so many outputs; at least 8 columns, so that stores fill 32-byte sectors."""
    for columns in (8, 16, 32, 64):
        if columns <= outputs and (columns == 8 or columns < 2 * g.Q):
            yield from _counted(g, outputs, _halo(g, outputs // columns, columns))


def halos_of_every_row(g: Windowed, outputs: int) -> Iterator[Halo]:
    """The halo tile with so many outputs in rows of 8, if the convolution has one whose rows are equally far apart."""
    if max(g.stride) == 1:
        yield from _counted(g, outputs, _halo_of_every_row(g, outputs // 8, 8))


def _counted(g: Windowed, outputs: int, halo: Halo) -> Iterator[Halo]:
    """The halo tile, if 32 bits count all of its rows and outputs."""
    if max((g.N + 1) * halo.reach, halo.number * outputs) < 2**31:
        yield halo


def _halo_of_every_row(g: Windowed, rows: int, columns: int) -> Halo:
    axis_h, axis_w = g.axes
    reach = axis_h.span(g.P)
    return Halo(
        rows=rows,
        columns=columns,
        input_rows=axis_h.span(rows),
        input_columns=axis_w.span(columns),
        reach=reach,
        taps=g.R * g.S,
        row_tiles=-(-g.N * reach // rows),
        column_tiles=-(-g.Q // columns),
    )


def _halo(g: Windowed, rows: int, columns: int) -> Halo:
    axis_h, axis_w = g.axes
    # A step from row to row is a stride, or from the last row of an image to the next image's first one its window.
    least = (rows - 1) // g.P
    most = least if g.P % rows == 0 else (rows + g.P - 2) // g.P
    window = axis_h.reach + 1
    steps = max(crossed * window + (rows - 1 - crossed) * axis_h.stride for crossed in (least, most))
    return Halo(
        rows=rows,
        columns=columns,
        input_rows=steps + window,
        input_columns=axis_w.span(columns),
        reach=axis_h.span(g.P),
        taps=g.R * g.S,
        row_tiles=-(-g.N * g.P // rows),
        column_tiles=-(-g.Q // columns),
    )
