"""The processes that an MPI launcher (mpiexec, srun) started together with this one, and what they do as one."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .._extras import needed_for
from .._notices import logger
from ..backend import import_cupy
from ..benchmarks.environment import cores
from .errors import CommandError

if TYPE_CHECKING:
    from ..distributed import Communicator

_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""In which launchers say how many: MPICH's and those of its kind, Open MPI's, MVAPICH2's, srun."""

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")

Result = TypeVar("Result")


def launched() -> int:
    """How many processes a launcher started; 1 where there was none."""
    found = (os.environ.get(name, "") for name in _SIZES)
    return next((int(size) for size in found if size.isdigit()), 1)


def joined(kind: str) -> Communicator:
    """The communicator of all processes that were launched, or "single" where that is this one.

    CommandError where MPI sees others than the launcher started.
    """
    from ..distributed import communicator

    size = launched()
    if size == 1:
        return communicator("single")
    try:
        found = communicator(kind)
    except RuntimeError as error:
        raise CommandError(error) from error
    if found.size != size:
        why = "the launcher and the MPI library that mpi4py finds are not of one kind"
        raise CommandError(f"{size} processes were launched, and MPI sees {found.size}: {why}")
    if found.rank:
        logger.setLevel(logging.ERROR)  # what rank 0 has to say is the same
    return found


def share_machine(communicator: Communicator, backend: str) -> None:
    """The processes of a machine take their parts of it: of the cores that all of them may use, unless the environment
    says how many; and of the GPUs, which NCCL's communicator has given out itself."""
    if communicator.size == 1:
        return
    own = platform.node(), sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    everyone = communicator.gather(own)
    if not any(name in os.environ for name in _THREADS):
        with needed_for("several processes on one machine"):
            from threadpoolctl import threadpool_limits
        threadpool_limits(max(1, cores() // everyone.count(own)), user_api="blas")
    if backend != "numpy" and communicator.name == "mpi":
        cuda = import_cupy().cuda
        place = [host for host, _ in everyone[: communicator.rank]].count(own[0])
        cuda.Device(place % cuda.runtime.getDeviceCount()).use()


@contextmanager
def ending_together(communicator: Communicator) -> Iterator[None]:
    """Inside the with block an interrupt, or an output that takes nothing more, ends the other processes as well."""
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        if communicator.size > 1:
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"error: {error}"
            print(f"backstride: {what}; the processes are ended", file=sys.stderr)
            communicator.abort()
        raise


def on_all(communicator: Communicator, work: Callable[[], Result]) -> Result:
    """What work() returns, where no process fails in it. Else all of them end: the first that failed raises its error,
    and the others end with its status and without a word."""
    error: CommandError | ImportError | None = None
    try:
        result = work()
    except (CommandError, ImportError) as raised:
        error = raised
    statuses: list[Any] = communicator.gather(error and getattr(error, "status", CommandError.status))
    failed = [rank for rank, status in enumerate(statuses) if status is not None]
    if not failed:
        return result
    if error is None or communicator.rank != failed[0]:
        raise SystemExit(statuses[failed[0]])
    if failed[0]:
        error.args = (f"rank {failed[0]}: {error}",)
    raise error
