"""The processes of a job, and what they can tell each other."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..kernels import checks

KINDS = {"mpi": "Mpi", "nccl": "Nccl", "single": "Single"}
"""The class of each, in the module of its name."""


class Communicator(Protocol):
    """One of `size` processes that run the same program, number `rank`.

    All of them make the same calls in the same order. None waits for good: a process that has ended ends the job.
    """

    name: str
    rank: int
    size: int

    def gather(self, value: Any) -> list[Any]:
        """The small Python values that the processes gave, by rank."""

    def broadcast(self, array: np.ndarray) -> None:
        """Overwrite this contiguous NumPy array by that of rank 0."""

    def exchange(self, given: Any, received: Any, partner: int) -> None:
        """Send the array `given` to another process and fill `received` by what that one sends, both contiguous."""

    def abort(self) -> None:
        """End all processes, with a status that is not 0."""

    overlaps: bool = False
    """Whether work on arrays that is given inside `beside()` runs while other work does."""

    def beside(self) -> AbstractContextManager[None]:
        """A with block whose exchanges and sums come after the work given so far, and may run beside further work."""
        return nullcontext()

    def join(self) -> None:
        """Further work comes after that of `beside()`."""
        return


def communicator(name: str, **options: Any) -> Communicator:
    """The communicator of this name, one for all processes of the job: "mpi" (mpi4py), "nccl" (arrays of CuPy, beside
    MPI for the rest) or "single", which is one process and needs nothing.

    options: timeout (of "mpi" and "nccl"), the seconds after which a process that others wait for ends the job, by
    default half an hour; one that has died ends it within a minute. cuda_aware (of "mpi"): whether MPI takes CuPy's
    arrays as they are; by default they go through the host.
    Raises ValueError for another name, MissingExtraError where a package is missing, and RuntimeError where there is
    no MPI library, no NCCL or no GPU.

    >>> from backstride.distributed import communicator
    >>> alone = communicator("single")
    >>> alone.rank, alone.size, alone.gather("here")
    (0, 1, ['here'])
    """
    if name not in KINDS:
        raise checks.value_error("communicator", "name", repr(name), " or ".join(map(repr, KINDS)))
    found: Communicator = getattr(import_module(f".{name}", __package__), KINDS[name])(**options)
    return found
