"""A call of an operation as text, `conv2d --x 32,64,56,56 --w 64,64,3,3 --padding 1`: what `backstride plan` is given,
and a line of the file that `backstride warm` reads and record_shapes writes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from ..kernels import FUNCTIONS, OPERATIONS, dtypes
from ..kernels.layout import NCHW, image, is_channels_last
from ..kernels.operation import Case, Function, Operation, function_of

OPTIONS = {name: default for operation in OPERATIONS.values() for name, default in operation.family.options.items()}
_SPELLED = {"count_include_pad": "--exclude-padding"}
"""A flag says the contrary of an option's default."""


@dataclass(frozen=True)
class Call:
    """An operation with its shapes and options. dtype: None where the text names none."""

    operation: Operation
    case: Case
    dtype: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a call, without the operation and the dtype."""
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--x", type=extents, default=unset, help="N,C,H,W of the forward input (one axis: N,C,W; linear: N,F)"
    )
    parser.add_argument("--w", type=extents, default=unset, help="K,C/groups,R,S of the weights (linear: O,F)")
    for name, default in OPTIONS.items():
        words: dict[str, Any] = {"dest": name, "default": unset, "help": f"{name} of the operation"}
        if isinstance(default, bool):
            words |= {"action": "store_false" if default else "store_true", "help": f"{name}={not default}"}
        else:
            words |= {"type": option}
        parser.add_argument(_spelled(name), **words)


def _spelled(option: str) -> str:
    return _SPELLED.get(option, f"--{option.replace('_', '-')}")


def case_of(function: Function, args: argparse.Namespace) -> Case:
    """What add_arguments' options say; ValueError where there is no --x, or one of another number of axes."""
    if "x" not in args:
        raise ValueError("name an operation and its shapes (conv2d --x 32,64,56,56 --w 64,64,3,3)")
    if function.rank:
        last = is_channels_last(function.name, getattr(args, "layout", NCHW))
        image(function.name, "x.shape", args.x, function.rank, last)
    options = {name: _by_axis(getattr(args, name), function.rank) for name in OPTIONS if name in args}
    return Case("", args.x, args.w if "w" in args else (), options)


def parse(line: str) -> Call | None:
    """The call that a line says; None for an empty line and for a comment (#). ValueError where it says none."""
    words = shlex.split(line, comments=True)
    if not words:
        return None
    args = _line_parser().parse_args(words)
    function = FUNCTIONS[args.operation]
    return Call(function.operation, case_of(function, args), args.dtype)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def _line_parser() -> _Parser:
    parser = _Parser(add_help=False)
    parser.add_argument("operation", choices=FUNCTIONS, metavar="OPERATION")
    add_arguments(parser)
    parser.add_argument("--dtype", choices=dtypes.NAMES)
    return parser


def extents(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def option(text: str) -> Any:
    """An int, ints, a number with a point or an exponent, or a word ('same')."""
    if text.isalpha():
        return text
    if "." in text or "e" in text:
        return float(text)
    values = extents(text)
    return values[0] if len(values) == 1 else values


def _by_axis(value: Any, rank: int) -> Any:
    """Two ints for each axis, as top,bottom,left,right, are sides."""
    sides = rank and isinstance(value, tuple) and len(value) == 2 * rank
    return tuple(zip(value[::2], value[1::2], strict=True)) if sides else value


def line(operation: Operation, arguments: tuple[Any, ...]) -> str:
    """The text of a path function's call."""
    dtype, geometry = arguments[0].dtype.name, arguments[-1]
    said = [function_of(operation, geometry).name, *_words(operation.family.case(geometry))]
    return " ".join([*said, "--dtype", dtype] if dtype in dtypes.NAMES else said)  # taps have another


def _words(case: Case) -> Iterator[str]:
    yield from ("--x", _text(case.x))
    if case.w:
        yield from ("--w", _text(case.w))
    for name, value in case.options.items():
        yield _spelled(name)
        if not isinstance(value, bool):
            yield _text(value)


def _text(value: Any) -> str:
    """An int, or ints in tuples however deep."""
    return ",".join(map(_text, value)) if isinstance(value, tuple) else str(value)
