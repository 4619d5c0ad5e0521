"""Show what a call, or every layer of a benchmark suite, will do on a GPU: kernels, resources, floors. Needs no GPU."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .. import calls
from ..benchmarks.suites import Layer, select, suite_names
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
from .arguments import positive_int
from .errors import CommandError

HELP = "show the kernels, resources and time floor of a call on a GPU, without the GPU"

_OPTIONS = (
    "stride", "padding", "output_padding", "dilation", "groups", "kernel_size", "divisor_override", "batch_axis",
)  # fmt: skip


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
    unset = argparse.SUPPRESS
    names = ", ".join(cpu.__all__)
    parser.add_argument("operation", nargs="?", choices=cpu.__all__, default="conv2d", metavar="OPERATION", help=names)
    parser.add_argument("--x", type=_extents, default=unset, help="N,C,H,W of the forward input (linear: N,F)")
    parser.add_argument("--w", type=_extents, default=unset, help="K,C/groups,R,S of the weights (linear: O,F)")
    for name in _OPTIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=_option, default=unset, help="as the operation's")
    parser.add_argument("--ceil-mode", action="store_true", help="of pooling")
    parser.add_argument("--exclude-padding", action="store_true", help="average pooling without count_include_pad")
    parser.add_argument("--suite", choices=suite_names(), default=unset, help="every layer of a benchmark suite")
    parser.add_argument("--batch", type=positive_int, default=128, help="of a suite's layers")
    parser.add_argument("--dtype", choices=DTYPE_NAMES, default="float32")
    parser.add_argument("--precision", choices=PRECISIONS, default=get_float32_precision(), help="of float32 products")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--sm", type=int, choices=sorted(LIMITS), default=90, help="compute capability, 90 for 9.0")
    target.add_argument("--gpu", choices=[gpu.name for gpu in GPUS], default=unset, help="a GPU by name")
    parser.add_argument("--sms", type=positive_int, default=unset, help="multiprocessors, where not as the GPU's")
    parser.add_argument("--source", action="store_true", help="print the exact CUDA text of the call's kernels")


def run(args: argparse.Namespace) -> int:
    gpu = _gpu(args)
    try:
        with use_float32_precision(args.precision):
            if "suite" in args:
                _print_suite(args, gpu)
            else:
                _print_call(args, gpu)
    except (ValueError, TypeError) as error:  # TypeError: an option that the operation does not have
        raise CommandError(error) from error
    return 0


def _gpu(args: argparse.Namespace) -> Gpu:
    """The GPU by name, or the last one in the table of its compute capability."""
    gpu = next(g for g in reversed(GPUS) if (g.name == args.gpu if "gpu" in args else g.sm == args.sm))
    return replace(gpu, multiprocessors=args.sms) if "sms" in args else gpu


def _maker(gpu: Gpu, dtype: str) -> calls.Maker:
    device, held = Device(gpu.sm, gpu.multiprocessors), dtype_named(dtype)
    return calls.Maker(
        array=lambda shape: Array(shape, held, device),
        weights=lambda shape: Array(shape, held, device),
        taps=lambda x, geometry: Array(geometry.y_shape, geometry.tap_dtype, device),
    )


def _case(args: argparse.Namespace) -> Case:
    if "x" not in args:
        raise ValueError("name an operation and its shapes (conv2d --x 32,64,56,56 --w 64,64,3,3), or a --suite")
    options = {name: getattr(args, name) for name in _OPTIONS if name in args}
    if args.ceil_mode:
        options["ceil_mode"] = True
    if args.exclude_padding:
        options["count_include_pad"] = False
    return Case("", args.x, args.w if "w" in args else (), options)


def _print_call(args: argparse.Namespace, gpu: Gpu) -> None:
    arguments = calls.call(args.operation, _case(args), _maker(gpu, args.dtype))
    found = plan(args.operation, arguments, gpu, args.precision, compile_=not args.source)
    if args.source:
        print("\n".join(kernel.launch.text for kernel in found.kernels))
    else:
        from .plan_view import print_call

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
    families = {"conv": calls.conv, "pool": calls.max_pool, "linear": calls.linear}
    for shape in select([suite]):
        if shape.family in families:
            n = shape.batch or batch
            case = Case(shape.text, *Layer.parse(shape.text).arguments(shape.family, n))
            for operation in calls.FAMILIES[families[shape.family]]:
                yield f"{shape.text} @{n}", operation, case
