"""Halo tiles: output pixels of a convolution as rows by columns, and the input pixels they read (src/halo.cuh)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...conv.geometry import ConvGeometry


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


def halos(g: ConvGeometry, outputs: int) -> Iterator[Halo]:
    """Every shape of a halo tile with so many outputs; at least 8 columns, so that stores fill 32-byte sectors."""
    for columns in (8, 16, 32, 64):
        if columns <= outputs and (columns == 8 or columns < 2 * g.Q):
            halo = _halo(g, outputs // columns, columns)
            if max((g.N + 1) * halo.reach, halo.number * outputs) < 2**31:
                yield halo


def _halo(g: ConvGeometry, rows: int, columns: int) -> Halo:
    (stride_h, stride_w), (dilation_h, dilation_w) = g.stride, g.dilation
    window_h, window_w = dilation_h * (g.R - 1) + 1, dilation_w * (g.S - 1) + 1
    # A step from row to row is a stride, or from the last row of an image to the next image's first one its window.
    least = (rows - 1) // g.P
    most = least if g.P % rows == 0 else (rows + g.P - 2) // g.P
    steps = max(crossed * window_h + (rows - 1 - crossed) * stride_h for crossed in (least, most))
    return Halo(
        rows=rows,
        columns=columns,
        input_rows=steps + window_h,
        input_columns=(columns - 1) * stride_w + window_w,
        reach=(g.P - 1) * stride_h + window_h,
        taps=g.R * g.S,
        row_tiles=-(-g.N * g.P // rows),
        column_tiles=-(-g.Q // columns),
    )
