"""`backstride plan`: what a call, or every layer of a benchmark suite, will do on a GPU; needs no GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .. import calls
from ..conformance import dtype_named
from ..kernels import cpu
from ..kernels.checks import DTYPE_NAMES
from ..kernels.cuda.devices import GPUS, Gpu
from ..kernels.cuda.dryrun import Array, Device
from ..kernels.cuda.occupancy import LIMITS
from ..kernels.cuda.plan import plan
from ..precision import NAMES as PRECISIONS
from ..precision import get_float32_precision, use_float32_precision
from ..shapes import Case

HELP = "show the kernels, resources and time floor of a call on a GPU, without the GPU"

_OPTIONS = (
    "stride", "padding", "output_padding", "dilation", "groups", "kernel_size", "divisor_override", "batch_axis",
)  # fmt: skip
_FLAGS = ("ceil_mode", "exclude_padding")


def _extents(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _option(text: str) -> Any:
    """An int, h,w, top,bottom,left,right, or a word ('same')."""
    if text.isalpha():
        return text
    values = _extents(text)
    if len(values) == 4:
        return values[:2], values[2:]
    return values[0] if len(values) == 1 else values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operation", nargs="?", choices=cpu.__all__, metavar="OPERATION", help=", ".join(cpu.__all__))
    parser.add_argument("--x", type=_extents, metavar="N,C,H,W", help="shape of the forward input (linear: N,F)")
    parser.add_argument("--w", type=_extents, metavar="K,C,R,S", help="shape of the weights (linear: O,F)")
    for option in _OPTIONS:
        parser.add_argument(f"--{option.replace('_', '-')}", type=_option, help="as the operation's; h,w for a pair")
    for flag in _FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", action="store_true", help="of pooling")
    parser.add_argument("--suite", help="every layer of this benchmark suite instead of one call")
    parser.add_argument("--batch", type=int, default=128, help="of a suite's layers (default: 128)")
    parser.add_argument("--dtype", choices=DTYPE_NAMES, default="float32")
    parser.add_argument("--precision", choices=PRECISIONS, default=get_float32_precision(), help="of float32 products")
    parser.add_argument("--sm", type=int, choices=sorted(LIMITS), help="compute capability, 90 for 9.0 (default: 90)")
    parser.add_argument("--gpu", choices=[gpu.name for gpu in GPUS], help="a GPU by name instead of --sm")
    parser.add_argument("--sms", type=int, help="number of multiprocessors (default: the GPU's)")
    parser.add_argument("--source", action="store_true", help="print the exact CUDA text of the call's kernels")


def run(args: argparse.Namespace) -> int:
    gpu = _gpu(args)
    try:
        with use_float32_precision(args.precision):
            if args.suite is not None:
                _print_suite(args, gpu)
            else:
                _print_call(args, gpu)
    except (ValueError, ImportError) as error:
        print(f"backstride plan: {error}", file=sys.stderr)
        return 2
    return 0


def _gpu(args: argparse.Namespace) -> Gpu:
    """The GPU by name, or the last one in the table of its compute capability."""
    if args.gpu is not None:
        gpu = next(gpu for gpu in GPUS if gpu.name == args.gpu)
    else:
        gpu = next(gpu for gpu in reversed(GPUS) if gpu.sm == (args.sm or 90))
    return replace(gpu, multiprocessors=args.sms) if args.sms else gpu


def _maker(gpu: Gpu, dtype: str) -> calls.Maker:
    device, held = Device(gpu.sm, gpu.multiprocessors), dtype_named(dtype)
    return calls.Maker(
        array=lambda shape: Array(shape, held, device),
        taps=lambda x, geometry: Array(geometry.y_shape, geometry.tap_dtype, device),
    )


def _case(args: argparse.Namespace) -> Case:
    if args.operation is None or args.x is None:
        raise ValueError("name an operation and its shapes (conv2d --x 32,64,56,56 --w 64,64,3,3), or a --suite")
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    if args.ceil_mode:
        options["ceil_mode"] = True
    if args.exclude_padding:
        options["count_include_pad"] = False
    return Case("", args.x, args.w or (), options)


def _print_call(args: argparse.Namespace, gpu: Gpu) -> None:
    from .plan_view import print_call

    case = _case(args)
    try:
        arguments = calls.call(args.operation, case, _maker(gpu, args.dtype))
    except TypeError as error:  # an option that the operation does not have
        raise ValueError(error) from None
    found = plan(args.operation, arguments, gpu, args.precision, compile_=not args.source)
    if args.source:
        print("\n".join(kernel.launch.text for kernel in found.kernels))
    else:
        print_call(found, f"{args.operation} {args.dtype}")


def _print_suite(args: argparse.Namespace, gpu: Gpu) -> None:
    from .plan_view import print_suite

    make = _maker(gpu, args.dtype)
    rows = (
        (layer, plan(operation, calls.call(operation, case, make), gpu, args.precision))
        for layer, operation, case in _suite_calls(args.suite, args.batch)
    )
    print_suite(rows, f"{args.suite}, {args.dtype},", gpu)


def _suite_calls(suite: str, batch: int) -> Iterator[tuple[str, str, Case]]:
    """(layer, operation, shape): every layer of a suite, forward and gradients."""
    from ..benchmarks.suites import Layer, select

    families = {"conv": calls.conv, "pool": calls.max_pool, "linear": calls.linear}
    for shape in select([suite]):
        if shape.family in families:
            n = shape.batch or batch
            case = Case(shape.text, *Layer.parse(shape.text).arguments(shape.family, n))
            for operation in calls.FAMILIES[families[shape.family]]:
                yield f"{shape.text} @{n}", operation, case
