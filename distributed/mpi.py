"""Processes that an MPI launcher has started, by mpi4py."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import pickle
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from .._extras import needed_for
from ..backend import get_array_module, import_cupy, is_cupy, on_device, to_numpy
from ..kernels import checks
from .communicator import Communicator
from .heartbeat import Heartbeat

_LAUNCHER_READS = 0.25  # seconds: what it has not read when it ends the job is lost
_EAGER, _LONGEST_PAUSE = 0.02, 1e-3  # seconds: first only give way, then sleep between looks


class Mpi(Communicator):
    """All processes of MPI_COMM_WORLD. In each an exception that nothing catches ends the whole job."""

    name = "mpi"

    def __init__(self, timeout: float = 1800.0, cuda_aware: bool = False) -> None:
        """timeout: seconds. cuda_aware: whether MPI takes CuPy's arrays, which else go through the host."""
        if not timeout > 0:
            raise checks.value_error("communicator('mpi')", "timeout", timeout, "a number of seconds > 0")
        self._timeout, self._cuda_aware = timeout, cuda_aware
        self._mpi = load_mpi()
        self._world = self._mpi.COMM_WORLD.Dup()
        self.rank, self.size = self._world.rank, self._world.size
        self.hosts: list[str] = []
        self._heartbeat: Heartbeat | None = None
        self.hosts = self.gather(self._mpi.Get_processor_name())
        """The name of each process's machine."""
        if self.size > 1:
            self._watch(self.gather(os.getpid()))
            self._end_all_on_exceptions()

    def _watch(self, processes: list[int]) -> None:
        own = self._mpi.COMM_WORLD.Dup()
        before = (self.rank - 1) % self.size
        if self._mpi.Query_thread() == self._mpi.THREAD_MULTIPLE:
            described = f"rank {before} (process {processes[before]} on {self.hosts[before]})"
            self._heartbeat = Heartbeat(self._mpi, own, described)
            atexit.register(self._heartbeat.stop)

    def _end_all_on_exceptions(self) -> None:
        shown = sys.excepthook

        def hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
            with contextlib.redirect_stderr(io.StringIO()) as text:
                shown(kind, error, where)
            # In one piece: other ranks write to the same terminal.
            sys.stderr.write(f"{text.getvalue()}backstride: rank {self.rank} has failed; the job is ended\n")
            sys.stderr.flush()
            time.sleep(_LAUNCHER_READS)
            self.abort()

        sys.excepthook = hook

    def gather(self, value: Any) -> list[Any]:
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait([self._world.Iallgather(np.array([data.size]), sizes)], "another rank")
        parts = np.empty(int(sizes.sum()), np.uint8)
        into = [parts, sizes.tolist(), self._mpi.BYTE]
        self._wait([self._world.Iallgatherv([data, self._mpi.BYTE], into)], "another rank")
        return [pickle.loads(part.tobytes()) for part in np.split(parts, np.cumsum(sizes)[:-1])]

    def broadcast(self, array: np.ndarray) -> None:
        self._wait([self._world.Ibcast([array, self._mpi.BYTE], 0)], "another rank")

    def exchange(self, given: Any, received: Any, partner: int) -> None:
        if not is_cupy(given):
            self._exchange(given, received, partner)
        elif self._cuda_aware:
            import_cupy().cuda.get_current_stream().synchronize()  # MPI knows no streams
            self._exchange(given, received, partner)
        else:
            by_host = np.empty(received.shape, received.dtype)
            self._exchange(to_numpy(given), by_host, partner)
            with on_device(received):
                received[...] = get_array_module(received).asarray(by_host)

    def _exchange(self, given: Any, received: Any, partner: int) -> None:
        requests = [
            self._world.Irecv([received.view(np.uint8), self._mpi.BYTE], partner),
            self._world.Isend([given.view(np.uint8), self._mpi.BYTE], partner),
        ]
        self._wait(requests, f"rank {partner}")

    def _wait(self, requests: Sequence[Any], whom: str) -> None:
        """Until all requests are done. RuntimeError where that takes too long, or another process has left."""
        begun, pause = time.monotonic(), 1e-5
        while not self._mpi.Request.Testall(requests):
            waited = time.monotonic() - begun
            if waited < _EAGER:
                time.sleep(0)
                continue
            if self._heartbeat is not None and self._heartbeat.has_left:
                before = (self.rank - 1) % self.size
                raise RuntimeError(f"rank {before} has ended, and rank {self.rank} still waits for {whom}")
            if waited > self._timeout:
                raise RuntimeError(f"rank {self.rank} has waited {waited:.0f} s for {whom}, its timeout")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def abort(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(1)


def load_mpi() -> Any:
    """mpi4py's MPI, initialised. MissingExtraError without mpi4py, RuntimeError where it finds no MPI library."""
    with needed_for("communicator('mpi')", "mpi"):
        import mpi4py  # noqa: F401
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        mend = "load the cluster's MPI module, or pip install 'backstride[mpi]'"
        raise RuntimeError(f"communicator('mpi'): mpi4py finds no MPI library: {mend}") from error
    return MPI
