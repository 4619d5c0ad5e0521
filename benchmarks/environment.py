"""The machine and the software of a run: what a reader needs to know to believe a figure, or to redo it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import backend
from .._version import __version__
from ..jit import get_jit
from ..kernels.cpu import threads
from ..precision import get_float32_precision

PACKAGES = ("numpy", "numba", "scipy", "torch", "cupy-cuda12x", "cupy-cuda13x", "threadpoolctl", "ml_dtypes")


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Versions, processor, device, threads and the commit, for the results file."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "backstride": __version__,
        "commit": commit(),
        "backend": backend.get_backend(),
        "device": _device() if backend.get_backend() == "cupy" else None,
        "processor": _processor(),
        "cores": cores(),
        "threads": threads.count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "float32_precision": get_float32_precision(),
        "jit": get_jit(),
        "blas": _blas(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith("BACKSTRIDE_")},
    }


def decides_bits() -> dict[str, str]:
    """What the bits of a result depend on besides the program and its data: versions, and the processor or GPU."""
    if backend.get_backend() == "numpy":
        packages: tuple[str, ...] = ("numpy", "numba") if get_jit() else ("numpy",)
        device = {"loops": "compiled" if get_jit() else "plain NumPy", "processor": _processor()}
    else:
        packages = ("numpy", "cupy-cuda12x", "cupy-cuda13x")
        device = {"float32 products": get_float32_precision(), "device": _device()["name"]}
    versions = {name: version for name in packages if (version := package_version(name))}
    return {"backstride": __version__, **versions, **device}


def commit() -> str | None:
    """The commit of the source tree this package runs from, with '+' where it was edited; None outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + "+" if _git(root, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's model name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _blas() -> list[str]:
    """The BLAS and OpenMP libraries loaded, with their threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [
        f"{Path(library['filepath']).name} {library['version'] or ''} ({library['num_threads']} threads)"
        for library in threadpool_info()
    ]


def _device() -> dict[str, Any]:
    cupy = backend.import_cupy()
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": properties["totalGlobalMem"],
        "driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
    }
