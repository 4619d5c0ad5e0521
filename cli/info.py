"""Tell the versions, which backend is in force and why, the device, BLAS with its threads, and what several processes
train by; under mpiexec or srun also where they run."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable

from .. import _files, jit
from .._extras import MissingExtraError
from .._switch import environment
from ..backend import VARIABLE, BackendUnavailableError, probe_cupy, use_backend
from ..batch_invariance import get_batch_invariant
from ..kernels.cuda.runtime import cubins
from ..precision import get_float32_precision, use_float32_precision
from .arguments import add_backend, select_backend
from .errors import CommandError
from .info_processes import mpi, nccl, of_processes

HELP = "versions, the backend in force and why, device, BLAS"

_LABEL = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_backend(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or 2 where what the options or the environment ask for cannot be; all else is shown even then."""
    backend, wrong_backend = _in_force(lambda: select_backend(arguments))
    precision, wrong_precision = _in_force(get_float32_precision)
    loops, wrong_loops = _in_force(_numpy_loops)
    invariant, wrong_invariant = _in_force(lambda: "yes" if get_batch_invariant() else "no")
    facts = _facts(f"{backend} ({_asked(arguments)})", precision, loops, invariant)
    rank, processes = of_processes(dict(facts))
    if rank > 0:
        return 0
    for label, text in [*facts, *processes]:
        first, *rest = textwrap.wrap(text, _width()) or [""]
        print(f"{label:<{_LABEL}}{first}")
        for line in rest:
            print(" " * _LABEL + line)
    wrong = [*wrong_backend, *wrong_precision, *wrong_loops, *wrong_invariant]
    if wrong:
        raise CommandError("; ".join(wrong))
    return 0


def _in_force(get: Callable[[], str]) -> tuple[str, list[str]]:
    """A choice, or "none" and why."""
    try:
        return get(), []
    except (CommandError, BackendUnavailableError, MissingExtraError, ValueError) as error:
        return "none", [str(error)]


def _numpy_loops() -> str:
    """What NumPy arrays run on, and why."""
    asked = environment(jit.VARIABLE)
    why = f"{jit.VARIABLE} is not set" if asked is None else f"{jit.VARIABLE}={asked}"
    if jit.get_jit():
        return f"loops compiled by numba ({why})"
    return f"plain NumPy ({jit.missing() or why})"


def _width() -> int:
    """Columns for the texts: a terminal's, and no limit in a pipe or a file."""
    return max(30, shutil.get_terminal_size().columns - _LABEL) if sys.stdout.isatty() else sys.maxsize


def _asked(arguments: argparse.Namespace) -> str:
    """Who asked for which backend."""
    if "backend" in arguments:
        return f"--backend {arguments.backend}"
    name = environment(VARIABLE)
    return f"{VARIABLE} is not set: auto" if name is None else f"{VARIABLE}={name}"


def _facts(backend: str, precision: str, loops: str, invariant: str) -> list[tuple[str, str]]:
    from ..benchmarks.environment import describe

    probe = probe_cupy()
    # what is in force may be what cannot be
    with use_backend("numpy" if probe.failed else "cupy"), use_float32_precision("auto"):
        found = describe()
    facts = [
        ("backstride", found["backstride"]),
        ("python", f"{found['python']} ({sys.executable})"),
        *((name, version) for name, version in found["packages"].items()),
        ("backend", backend),
    ]
    if probe.failed is None:
        facts.append(("cupy", probe.reason))
    else:
        facts.append(("cupy", f"not used: the {probe.failed} probe failed: {probe.reason}"))
        facts.append(("", f"to mend it: {probe.mend}"))
    if found["device"]:
        facts += [("device", _device(found["device"]))]
    facts += [
        ("processor", f"{found['processor']}, {found['cores']} cores for this process"),
        *(("blas", library) for library in found["blas"] or ["unknown: threadpoolctl is not installed"]),
        ("numpy arrays", loops),
        ("float32 products", precision),
        ("batch invariant", invariant),
        ("compiled ahead", _compiled_ahead()),
        ("mpi", mpi()),
        ("nccl", nccl()),
    ]
    return facts


def _compiled_ahead() -> str:
    folder = cubins.folder()
    try:
        reason = _files.distrusted(folder)
    except OSError:
        reason = None
    passed_over = "" if reason is None else f", passed over: {reason}"
    return f"{len(list(folder.glob('*.cubin')))} kernels in {folder}{passed_over}"


def _device(device: dict[str, object]) -> str:
    memory = int(str(device["memory_bytes"])) / 2**30
    return f"{device['name']}, compute capability {device['compute_capability']}, {memory:.0f} GiB"
