"""GPUs by NVIDIA's NCCL, through CuPy's own module. MPI starts the processes and carries what is no array."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import import_cupy, probe_cupy
from .communicator import Communicator
from .mpi import Mpi

MEND = "pip install 'backstride[nccl]' (beside cuda13: nvidia-nccl-cu13)"


class Nccl(Communicator):
    """All processes of MPI_COMM_WORLD, each with one GPU of its machine, which becomes the current device."""

    name = "nccl"
    overlaps = True

    def __init__(self, timeout: float = 1800.0) -> None:
        """timeout: seconds."""
        nccl, probe = load_nccl(), probe_cupy()
        if probe.failed is not None:
            raise RuntimeError(f"communicator('nccl'): the {probe.failed} probe failed ({probe.reason}); {probe.mend}")
        self._begin(nccl, Mpi(timeout))

    def _begin(self, nccl: Any, host: Communicator) -> None:
        self._nccl, self._host = nccl, host
        self.rank, self.size = host.rank, host.size
        self._cuda = import_cupy().cuda
        self._use_own_gpu(self.gather(platform.node()))
        name = nccl.get_unique_id() if self.rank == 0 else None
        self._communicator = nccl.NcclCommunicator(self.size, self.gather(name)[0], self.rank)
        self._stream = self._cuda.Stream(non_blocking=True)

    def _use_own_gpu(self, hosts: list[str]) -> None:
        """The first process of a machine takes its first GPU, and so on. RuntimeError where there are too few."""
        place = hosts[: self.rank].count(hosts[self.rank])
        everyone = self.gather((place, self._cuda.runtime.getDeviceCount()))
        for rank, (theirs, count) in enumerate(everyone):
            if count != 1 and theirs >= count:  # a launcher may show each process its own GPU alone
                raise RuntimeError(
                    f"communicator('nccl'): rank {rank} is process {theirs + 1} of {hosts[rank]}, "
                    f"which has {count} GPUs; expected one for each process"
                )
        if everyone[self.rank][1] > 1:
            self._cuda.Device(place).use()

    def gather(self, value: Any) -> list[Any]:
        return self._host.gather(value)

    def broadcast(self, array: np.ndarray) -> None:
        self._host.broadcast(array)

    def abort(self) -> None:
        self._host.abort()

    def exchange(self, given: Any, received: Any, partner: int) -> None:
        """On the current stream; nothing waits."""
        stream = self._cuda.get_current_stream().ptr
        self._nccl.groupStart()
        self._communicator.send(given.data.ptr, given.nbytes, self._nccl.NCCL_UINT8, partner, stream)
        self._communicator.recv(received.data.ptr, received.nbytes, self._nccl.NCCL_UINT8, partner, stream)
        self._nccl.groupEnd()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """On a stream of its own, after what the current stream was given."""
        self._stream.wait_event(self._cuda.get_current_stream().record(self._event()))
        with self._stream:
            yield

    def join(self) -> None:
        """The current stream waits for that stream; the host does not."""
        self._cuda.get_current_stream().wait_event(self._stream.record(self._event()))

    def _event(self) -> Any:
        return self._cuda.Event(disable_timing=True)


def load_nccl() -> Any:
    """CuPy's module; RuntimeError where it has no NCCL."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns where the library is missing
            import_cupy()
            from cupy.cuda import nccl
    except ImportError as error:
        raise RuntimeError(f"communicator('nccl'): there is no CuPy ({error}): {MEND}") from error
    if not nccl.available:
        raise RuntimeError(f"communicator('nccl'): CuPy finds no NCCL library: {MEND}")
    return nccl
