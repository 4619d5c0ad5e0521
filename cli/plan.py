"""Show what a call, or every layer of a benchmark suite, will do on a GPU: its kernels, their predicted time with the
score of every candidate, the time floor. Needs no GPU, and nothing of it is measured."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..benchmarks.suites import suite_names
from ..conformance import call_text, calls
from ..kernels import FUNCTIONS, dtypes
from ..kernels.cuda.offline.plan import plan
from ..kernels.cuda.runtime.gpus import GPUS, Gpu, gpu_of
from .arguments import add_precision, compute_capability, positive_int, selected_precision
from .errors import CommandError
from .suite_calls import suite

HELP = "show the kernels of a call on a GPU, their predicted time and its floor, without the GPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    unset = argparse.SUPPRESS
    names = ", ".join(FUNCTIONS)
    parser.add_argument("operation", nargs="?", choices=FUNCTIONS, metavar="OPERATION", help=names)
    call_text.add_arguments(parser)
    parser.add_argument("--suite", choices=suite_names(), default=unset, help="every layer of a benchmark suite")
    parser.add_argument("--batch", type=positive_int, default=128, help="of a suite's layers")
    parser.add_argument("--dtype", choices=dtypes.NAMES, default="float32")
    add_precision(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--sm", type=compute_capability, default=90, metavar="N", help="compute capability, 90 for 9.0")
    gpus = ", ".join(gpu.name for gpu in GPUS)
    target.add_argument("--gpu", type=gpu_named, default=unset, metavar="NAME", help=f"or what begins one: {gpus}")
    parser.add_argument("--sms", type=positive_int, default=unset, help="multiprocessors, where not as the GPU's")
    parser.add_argument(
        "--resources", action="store_true", help="of a suite: registers, spills, waves (compiles every kernel)"
    )
    parser.add_argument("--source", action="store_true", help="print the exact CUDA text of the call's kernels")


def run(args: argparse.Namespace) -> int:
    gpu = _gpu(args)
    try:
        with selected_precision(args) as precision:
            if "suite" in args:
                _check_suite(args)
                _print_suite(args, gpu, precision)
            else:
                _print_call(args, gpu, precision)
    except ValueError as error:
        raise CommandError(error) from error
    return 0


def _gpu(args: argparse.Namespace) -> Gpu:
    """The GPU by name, or the last one in the list of its compute capability."""
    gpu = args.gpu if "gpu" in args else gpu_of(args.sm)
    if "gpu" not in args and gpu.sm != args.sm:
        gpu = replace(gpu, name=f"an unlisted GPU with the peaks of {gpu.name}", sm=args.sm)
    return replace(gpu, multiprocessors=args.sms) if "sms" in args else gpu


def gpu_named(text: str) -> Gpu:
    """The GPU of this name, or the one whose name begins so; upper and lower case are alike."""
    found = [gpu for gpu in GPUS if gpu.name.lower().startswith(text.lower())]
    exact = [gpu for gpu in found if gpu.name.lower() == text.lower()]
    if len(exact or found) != 1:
        names = ", ".join(gpu.name for gpu in found or GPUS)
        raise argparse.ArgumentTypeError(f"{text!r} is {'ambiguous' if found else 'unknown'}; there are {names}")
    return (exact or found)[0]


def _check_suite(args: argparse.Namespace) -> None:
    """A suite has its own operations and shapes: what a call would need is not ignored."""
    given = [args.operation] if args.operation else []
    given += [f"--{name.replace('_', '-')}" for name in ("x", "w", *call_text.OPTIONS) if name in args]
    if args.source:
        given.append("--source")
    if given:
        raise CommandError(f"--suite shows every operation of its layers; leave out {', '.join(given)}, or --suite")


def _print_call(args: argparse.Namespace, gpu: Gpu, precision: str) -> None:
    name = args.operation or "conv2d"
    function = FUNCTIONS[name]
    case = call_text.case_of(function, args)
    arguments = calls.call(function.operation, case, calls.bare(dtypes.named(args.dtype)))
    found = plan(function.operation, arguments, gpu, precision, compile_=not args.source)
    if args.source:
        print("\n".join(kernel.launch.text for kernel in found.kernels))
    else:
        from .plan_view import print_call

        print_call(found, f"{name} {args.dtype}")


def _print_suite(args: argparse.Namespace, gpu: Gpu, precision: str) -> None:
    from .plan_view import print_suite, print_suite_resources

    make = calls.bare(dtypes.named(args.dtype))
    rows = (
        (layer, plan(operation, calls.call(operation, case, make), gpu, precision, compile_=args.resources))
        for layer, operation, case in suite(args.suite, args.batch)
    )
    show = print_suite_resources if args.resources else print_suite
    show(rows, f"{args.suite}, {args.dtype},", gpu)
