"""Tell the versions, which backend is in force and why, the device, and BLAS with its threads."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap

from ..backend import VARIABLE, probe_cupy
from ..kernels.cuda.runtime import cubins
from ..precision import get_float32_precision
from .arguments import add_backend, select_backend

HELP = "versions, the backend in force and why, device, BLAS"

_LABEL = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_backend(parser)


def run(arguments: argparse.Namespace) -> int:
    backend = select_backend(arguments)
    for label, text in _facts(backend, _asked(arguments)):
        first, *rest = textwrap.wrap(text, _width()) or [""]
        print(f"{label:<{_LABEL}}{first}")
        for line in rest:
            print(" " * _LABEL + line)
    return 0


def _width() -> int:
    """Columns for the texts: a terminal's, and no limit in a pipe or a file."""
    return max(30, shutil.get_terminal_size().columns - _LABEL) if sys.stdout.isatty() else sys.maxsize


def _asked(arguments: argparse.Namespace) -> str:
    """Who asked for which backend."""
    if "backend" in arguments:
        return f"--backend {arguments.backend}"
    return f"{VARIABLE}={os.environ[VARIABLE]}" if VARIABLE in os.environ else f"{VARIABLE} is not set: auto"


def _facts(backend: str, asked: str) -> list[tuple[str, str]]:
    from ..benchmarks.environment import describe

    found, probe = describe(), probe_cupy()
    facts = [
        ("backstride", found["backstride"]),
        ("python", f"{found['python']} ({sys.executable})"),
        *((name, version) for name, version in found["packages"].items()),
        ("backend", f"{backend} ({asked})"),
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
        ("float32 products", get_float32_precision()),
        ("compiled ahead", f"{len(list(cubins.folder().glob('*.cubin')))} kernels in {cubins.folder()}"),
    ]
    return facts


def _device(device: dict[str, object]) -> str:
    memory = int(str(device["memory_bytes"])) / 2**30
    return f"{device['name']}, compute capability {device['compute_capability']}, {memory:.0f} GiB"
