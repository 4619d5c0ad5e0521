"""A call of an operation as text, `conv2d --x 32,64,56,56 --w 64,64,3,3 --padding 1`: what `backstride plan` is given,
and a line of the file that `backstride warm` reads and record_shapes writes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from ..kernels import __all__ as OPERATIONS
from ..kernels.checks import DTYPE_NAMES
from ..kernels.conv.geometry import ConvGeometry
from ..kernels.linear.geometry import LinearGeometry
from ..kernels.operation import Case
from ..kernels.pool.geometry import AvgPoolGeometry, PoolGeometry

_OPTIONS = (
    "stride",
    "padding",
    "output_padding",
    "dilation",
    "groups",
    "kernel_size",
    "divisor_override",
    "batch_axis",
)


@dataclass(frozen=True)
class Call:
    """An operation of kernels with its shapes and options. dtype: None where the text names none."""

    operation: str
    case: Case
    dtype: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a call, without the operation and the dtype."""
    unset = argparse.SUPPRESS
    parser.add_argument("--x", type=extents, default=unset, help="N,C,H,W of the forward input (linear: N,F)")
    parser.add_argument("--w", type=extents, default=unset, help="K,C/groups,R,S of the weights (linear: O,F)")
    for name in _OPTIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=option, default=unset, help="as the operation's")
    parser.add_argument("--ceil-mode", action="store_true", help="of pooling")
    parser.add_argument("--exclude-padding", action="store_true", help="average pooling without count_include_pad")


def case_of(args: argparse.Namespace) -> Case:
    """What add_arguments' options say; ValueError where there is no --x."""
    if "x" not in args:
        raise ValueError("name an operation and its shapes (conv2d --x 32,64,56,56 --w 64,64,3,3)")
    options = {name: getattr(args, name) for name in _OPTIONS if name in args}
    if args.ceil_mode:
        options["ceil_mode"] = True
    if args.exclude_padding:
        options["count_include_pad"] = False
    return Case("", args.x, args.w if "w" in args else (), options)


def parse(line: str) -> Call | None:
    """The call that a line says; None for an empty line and for a comment (#). ValueError where it says none."""
    words = shlex.split(line, comments=True)
    if not words:
        return None
    args = _line_parser().parse_args(words)
    return Call(args.operation, case_of(args), args.dtype)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def _line_parser() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument("operation", choices=OPERATIONS, metavar="OPERATION")
    add_arguments(parser)
    parser.add_argument("--dtype", choices=DTYPE_NAMES)
    return parser


def extents(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def option(text: str) -> Any:
    """An int, h,w, top,bottom,left,right, or a word ('same')."""
    if text.isalpha():
        return text
    values = extents(text)
    if len(values) == 4:
        return values[:2], values[2:]
    return values[0] if len(values) == 1 else values


def line(operation: str, arguments: tuple[Any, ...]) -> str:
    """The text of a path function's call."""
    dtype, geometry = arguments[0].dtype.name, arguments[-1]
    said = [operation, *_WORDS[type(geometry)](operation, geometry)]
    return " ".join([*said, "--dtype", dtype] if dtype in DTYPE_NAMES else said)  # taps have another


def _conv2d(operation: str, g: ConvGeometry) -> Iterator[str]:
    transposed = operation == "conv_transpose2d"
    yield from ("--x", _text(g.y_shape if transposed else g.x_shape), "--w", _text(g.w_shape))
    yield from _window(g)
    if g.groups != 1:
        yield from ("--groups", str(g.groups))
    if transposed:
        bare = ((g.P, g.R), (g.Q, g.S))
        extra = [
            extent - ((count - 1) * stride - sum(padding) + dilation * (kernel - 1) + 1)
            for extent, (count, kernel), stride, padding, dilation in zip(
                (g.H, g.W), bare, g.stride, g.padding, g.dilation, strict=True
            )
        ]
        yield from ("--output-padding", _text(extra))


def _pool2d(operation: str, g: PoolGeometry) -> Iterator[str]:
    yield from ("--x", _text(g.x_shape), "--kernel-size", _text((g.R, g.S)), *_window(g))
    floor = PoolGeometry.of(operation, g.x_shape, (g.R, g.S), stride=g.stride, padding=g.padding, dilation=g.dilation)
    if (g.P, g.Q) != (floor.P, floor.Q):
        yield "--ceil-mode"


def _avg_pool2d(operation: str, g: AvgPoolGeometry) -> Iterator[str]:
    yield from _pool2d(operation, g)
    if not g.count_include_pad:
        yield "--exclude-padding"
    if g.divisor_override is not None:
        yield from ("--divisor-override", str(g.divisor_override))


def _linear(operation: str, g: LinearGeometry) -> Iterator[str]:
    yield from ("--x", _text((g.N, g.F)), "--w", _text(g.w_shape), "--batch-axis", str(g.batch_axis))


_WORDS: dict[type, Any] = {
    ConvGeometry: _conv2d,
    PoolGeometry: _pool2d,
    AvgPoolGeometry: _avg_pool2d,
    LinearGeometry: _linear,
}


def _window(g: ConvGeometry | PoolGeometry) -> Iterator[str]:
    yield from ("--stride", _text(g.stride))
    (top, bottom), (left, right) = g.padding
    if any((top, bottom, left, right)):
        yield from ("--padding", _text((top, bottom, left, right)))
    if g.dilation != (1, 1):
        yield from ("--dilation", _text(g.dilation))


def _text(extents: Any) -> str:
    return ",".join(map(str, extents))
