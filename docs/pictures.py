"""Draws the pictures of kernel.md: `python docs/pictures.py` writes them beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

STYLE = """<style>
text { font: 13px sans-serif; fill: #333 } .small { font-size: 11px }
.line { stroke: #777; fill: none } .cell { fill: #fff; stroke: #999 }
.a { fill: #8ecae6; fill-opacity: .75; stroke: #219ebc } .b { fill: #ffb703; fill-opacity: .6; stroke: #d98e04 }
.c { fill: #90be6d; fill-opacity: .7; stroke: #588b38 } .both { fill: #c9a0dc; stroke: #7b4397 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .cell { fill: #222; stroke: #666 } .line { stroke: #aaa }
  .a { fill-opacity: .45 } .b { fill-opacity: .45 } .c { fill-opacity: .45 } .both { fill-opacity: .6 }
}
</style>"""
CELL = 28


def picture(width: int, height: int, title: str, parts: Iterator[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{title}</title>'
    return "\n".join([head, STYLE, *parts, "</svg>"]) + "\n"


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'


def words(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def grid(x: float, y: float, rows: int, columns: int, kind: dict[tuple[int, int], str]) -> Iterator[str]:
    for r in range(rows):
        for c in range(columns):
            yield box(x + c * CELL, y + r * CELL, CELL, CELL, kind.get((r, c), "cell"))


def window() -> Iterator[str]:
    """x (5, 4), w (3, 2), stride 2: row 2 is under two windows."""
    first = {(r, c) for r in (0, 1, 2) for c in (0, 1)}
    second = {(r, c) for r in (2, 3, 4) for c in (0, 1)}
    kinds = {at: "both" if at in first & second else "a" if at in first else "b" for at in first | second}
    yield words(20, 20, "x (5, 4)")
    yield from grid(20, 30, 5, 4, kinds)
    yield words(190, 20, "w (3, 2)")
    yield from grid(190, 30, 3, 2, {})
    for r in range(3):
        for s in range(2):
            yield words(190 + s * CELL + CELL / 2, 30 + r * CELL + 18, f"{r},{s}", "small", "middle")
    yield words(310, 20, "y (2, 2), stride 2")
    yield from grid(310, 30, 2, 2, {(0, 0): "a", (1, 0): "b"})
    yield words(190, 150, "row 2 is read by both windows: forward twice,", "small")
    yield words(190, 166, "so its dx is the sum of what both dy give", "small")


def product() -> Iterator[str]:
    """The convolution as C = A B, and the element of A that a word of x is."""
    yield words(20, 20, "A: pixels × taps, never stored")
    yield box(20, 30, 150, 180, "cell")
    yield box(20, 75, 150, 45, "a")
    yield box(65, 75, 30, 45, "both")
    yield words(20, 228, "m = (n, p, q)", "small")
    yield words(120, 228, "k = (c, r, s)", "small")
    yield words(196, 125, "×")
    yield words(230, 20, "B: w, as it lies in memory")
    yield box(230, 30, 110, 150, "cell")
    yield box(260, 30, 40, 150, "b")
    yield box(260, 75, 40, 30, "both")
    yield words(230, 198, "k", "small")
    yield words(300, 198, "n: filters", "small")
    yield words(376, 125, "=")
    yield words(420, 20, "C: y")
    yield box(420, 30, 110, 180, "cell")
    yield box(450, 75, 40, 45, "c")
    yield words(420, 228, "one block's tile", "small")
    yield words(
        20, 255, "A[m][k] = x[n, c, p·stride + r·dilation − top, q·stride + s·dilation − left], 0 in the padding"
    )


def tile() -> Iterator[str]:
    """A block's tile of C, its four warps, and the strips of A and B that a step along k brings in."""
    yield words(20, 20, "TILE_K columns of A")
    for i in range(4):
        yield box(20 + 34 * i, 110, 30, 128, "a" if i == 1 else "cell")
    yield words(20, 256, "k →", "small")
    yield words(170, 20, "TILE_K rows of B")
    for i in range(4):
        yield box(190, 30 + 18 * i, 128, 15, "b" if i == 1 else "cell")
    for i in range(4):
        yield box(190 + 64 * (i // 2), 110 + 64 * (i % 2), 64, 64, "c")
        yield words(190 + 64 * (i // 2) + 32, 110 + 64 * (i % 2) + 36, f"warp {i}", "small", "middle")
    yield words(340, 135, "TILE_M × TILE_N of C, in registers:")
    yield words(340, 153, "each warp keeps WARP_M × WARP_N")
    yield words(340, 60, "shared memory holds STAGES pairs of strips")


def pipeline() -> Iterator[str]:
    """With three stages, two tiles are on their way while one is multiplied."""
    yield words(20, 20, "time →")
    for tile in range(5):
        y, start = 32 + 34 * tile, 100 + 80 * tile
        yield words(20, y + 18, f"tile {tile}")
        yield box(start, y, 156, 24, "a")
        yield words(start + 78, y + 16, "cp.async: on its way", "small", "middle")
        yield box(start + 160, y, 78, 24, "c")
        yield words(start + 199, y + 16, "multiplied", "small", "middle")


PICTURES: dict[str, tuple[int, int, str, Callable[[], Iterator[str]]]] = {
    "window": (520, 185, "A window of a convolution and the gradient of what two windows share", window),
    "product": (640, 270, "Convolution as a matrix product whose left operand is never stored", product),
    "tile": (640, 270, "A block's tile and the parts of its warps", tile),
    "pipeline": (680, 210, "Tiles on their way from memory while another is multiplied", pipeline),
}

DRAWN = {name: picture(width, height, title, parts()) for name, (width, height, title, parts) in PICTURES.items()}

if __name__ == "__main__":
    for name, text in DRAWN.items():
        Path(__file__).with_name(f"{name}.svg").write_text(text, encoding="utf-8")
