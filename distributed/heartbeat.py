"""Whether the other processes of an MPI job are alive: each tells the next one, in a ring, once a second."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np

INTERVAL, SILENCE = 1.0, 25.0  # seconds; a signal of a live process may be late by a long call that holds Python's lock
ALIVE, LEAVES = 1, 2
"""Tags of the messages."""


class Heartbeat:
    """A thread that tells the process after this one that this one lives, and listens to the one before it.

    The process before that is silent for too long has died: the job is ended, and its rank said. One that ends in
    order says so, and has_left is True from then on.
    """

    def __init__(self, mpi: Any, communicator: Any, describe: str) -> None:
        """communicator: an MPI communicator for this alone. describe: the process before this one, in a message."""
        self._mpi, self._communicator, self._describe = mpi, communicator, describe
        self._before = (communicator.rank - 1) % communicator.size
        self._after = (communicator.rank + 1) % communicator.size
        self._empty, self._sent = np.empty(0, np.uint8), [self._mpi.REQUEST_NULL]
        self._ends = threading.Event()
        self.has_left = False
        self._thread = threading.Thread(target=self._run, name="backstride heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """This process leaves in order."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        silent = 0.0  # by this thread's own waits: a job that was suspended as a whole is not silent
        while not self._ends.wait(INTERVAL):
            silent += INTERVAL
            self._tell(ALIVE)
            status = self._mpi.Status()
            while self._communicator.Iprobe(self._before, self._mpi.ANY_TAG, status):
                self._communicator.Recv(self._empty, self._before, status.tag)
                silent = 0.0
                self.has_left |= status.tag == LEAVES
            if silent > SILENCE and not self.has_left:
                self._end(silent)
        self._tell(LEAVES)

    def _tell(self, tag: int) -> None:
        """Nothing more where the next process has not taken the last message: they are not to pile up."""
        if tag == LEAVES or self._mpi.Request.Testall(self._sent):
            self._sent.append(self._communicator.Isend(self._empty, self._after, tag))
            del self._sent[:-2]

    def _end(self, silent: float) -> None:
        text = f"backstride: {self._describe} has been silent for {silent:.0f} s; the job is ended\n"
        os.write(2, text.encode())
        time.sleep(1)  # for the launcher, which has to pass it on
        self._communicator.Abort(1)
