"""Compile kernels ahead of time, without a GPU, into a folder that an image can ship: a program's first call then
reads a file. What the networks of `backstride train` and `explain` need, or what --suite and --shapes name."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import MissingExtraError, needed_for
from .._files import check_writable
from ..backend import probe_cupy
from ..conformance import calls
from ..jit import use_jit
from ..kernels import OPERATIONS
from ..kernels.cuda.offline import ahead
from ..kernels.cuda.offline.dryrun import Device
from ..kernels.cuda.runtime import cubins, nvrtc
from ..kernels.cuda.runtime.gpus import GPUS, gpu_of
from ..kernels.operation import JIT, Input, implementation
from ..kernels.types import Shape
from .arguments import add_precision, compute_capability, positive_int, selected_precision
from .errors import CommandError, FileError
from .given_calls import add_calls, path_calls, several
from .notices import progress_console

if TYPE_CHECKING:
    from rich.console import Console

HELP = "compile kernels ahead of time, for GPUs that are not here"

Kernel = tuple[int, str]
"""A compute capability and a CUDA text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="the loops of NumPy arrays, which Numba compiles for this processor and keeps; nothing else without --sm",
    )
    parser.add_argument(
        "--sm",
        type=several(compute_capability),
        default=unset,
        metavar="N,...",
        help="compute capabilities, 90 for 9.0 (default: that of this machine's GPU)",
    )
    parser.add_argument(
        "--sms",
        type=several(positive_int),
        default=unset,
        metavar="N,...",
        help="multiprocessors, which the choice of kernels depends on (default: those of the GPUs of `plan --gpu`)",
    )
    add_calls(parser)
    add_precision(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=unset,
        metavar="FOLDER",
        help=f"where to (default: {cubins.VARIABLE}, or else ~/.cache/backstride, where programs look)",
    )


def run(args: argparse.Namespace) -> int:
    with needed_for("backstride warm"):
        from rich.console import Console
    console = Console(highlight=False, soft_wrap=True)
    if args.cpu:
        _compile_loops(console)
        if "sm" not in args:
            return 0
    devices = _devices(args)
    where = _folder(args)
    with selected_precision(args):
        kernels = _kernels(args, devices)
    begun = time.monotonic()
    try:
        with _progress(len(kernels)) as advance:
            kept = []
            for one in ahead.compile_into(where, kernels):
                kept.append(one)
                advance()
    except nvrtc.CompilationError as error:
        raise CommandError(f"a kernel does not compile; please report this: {error}") from error
    except OSError as error:
        raise FileError(f"{where} cannot be written: {error.strerror or error}") from error
    _report(console, kept, where, time.monotonic() - begun)
    return 0


def _compile_loops(console: Console) -> None:
    """Run every operation that has compiled loops on its awkward shapes, so that each of them has been met."""
    begun = time.monotonic()
    try:
        with use_jit(True):
            for operation in OPERATIONS.values():
                compute = implementation(operation, JIT)
                if compute.__module__.endswith(JIT):
                    for case, dtype in product(operation.family.cases, (np.float32, np.float64)):
                        compute(*calls.call(operation, case, calls.numbers(operation, _ones(dtype))))
    except MissingExtraError as error:
        raise CommandError(str(error)) from error
    console.print(f"compiled the loops of NumPy arrays for this processor in {time.monotonic() - begun:.0f} s")


def _ones(dtype: Any) -> Callable[[Input, Shape], np.ndarray]:
    return lambda _, shape: np.ones(shape, dtype)


def _devices(args: argparse.Namespace) -> list[Device]:
    """The GPUs to compile for, as dry runs take them; CommandError where one is not known or NVRTC is missing."""
    if "sm" in args:
        found = [Device(sm, count) for sm in args.sm for count in getattr(args, "sms", _multiprocessors(sm))]
    elif probe_cupy().failed is None:
        found = [ahead.current_device()]
    else:
        raise CommandError("there is no GPU here to compile for; name compute capabilities, such as --sm 80,90")
    for device in found:
        reason = nvrtc.unavailable(device.sm)
        if reason is not None:
            raise CommandError(f"{reason}; pip install -U 'backstride[cuda12]' (or [cuda13])")
    return found


def _multiprocessors(sm: int) -> list[int]:
    """How many the GPUs of a compute capability have, or else one of the nearest below."""
    return sorted({gpu.multiprocessors for gpu in GPUS if gpu.sm == gpu_of(sm).sm})


def _folder(args: argparse.Namespace) -> Path:
    where: Path = getattr(args, "cache", cubins.folder())
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{where} cannot be made a folder: {error.strerror}") from error
    try:
        check_writable(where / "kernel")
    except OSError as error:
        raise CommandError(f"{where} cannot be written: {error.strerror}") from error
    return where


def _kernels(args: argparse.Namespace, devices: list[Device]) -> list[Kernel]:
    """What to compile, each once."""
    with _progress(None):
        found: dict[Kernel, None] = {}
        for where, call in path_calls(args):
            for device in devices:
                try:
                    launches = ahead.launches(call, device)
                except ValueError as error:
                    raise CommandError(f"{where}: {error}") from error
                found |= {(device.sm, launch.text): None for launch in launches}
    if not found:
        raise CommandError("there is no kernel to compile; expected a --suite or a call in --shapes")
    return list(found)


@contextmanager
def _progress(count: int | None) -> Iterator[Callable[[], None]]:
    """A bar on stderr over `count` kernels, or, while it is not known how many there are, a sign of life."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = progress_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("choosing kernels" if count is None else "compiling", total=count)
        yield lambda: progress.advance(task)


def _report(console: Any, kept: list[ahead.Kept], where: Path, seconds: float) -> None:
    for sm in sorted({one.sm for one in kept}):
        of_sm = [one for one in kept if one.sm == sm]
        compiled = [one.seconds for one in of_sm if one.seconds is not None]
        there = len(of_sm) - len(compiled)
        console.print(
            f"sm_{sm}: {len(of_sm)} kernels, {len(compiled)} compiled in {sum(compiled):.1f} s of processor time, "
            f"{there} there already"
        )
    size = sum(one.file.stat().st_size for one in kept)
    console.print(f"{size / 1e6:.1f} MB in {where.resolve()}, {seconds:.1f} s")
    if where.resolve() != cubins.folder().resolve():
        console.print(f"programs find them with {cubins.VARIABLE}={where.resolve()}")
