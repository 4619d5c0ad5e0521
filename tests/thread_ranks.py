"""Processes of a job as threads: a communicator that counts what is sent, without MPI."""

from __future__ import annotations

import itertools
import queue
import threading

import numpy as np

from backstride.distributed import Communicator

PATIENCE = 60.0  # seconds: a test that hangs fails


class Job:
    """What the ranks share. sent: the bytes that each has given in exchanges. mail: for each (from, to)."""

    def __init__(self, size):
        self.size, self.sent = size, [0] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE)
        self.told = [None] * size
        # all made before a thread runs: two at once would make one box twice
        self.mail = {pair: queue.Queue() for pair in itertools.product(range(size), repeat=2)}


class Rank(Communicator):
    name = "threads"

    def __init__(self, job, rank):
        self.job, self.rank, self.size = job, rank, job.size

    def gather(self, value):
        self.job.told[self.rank] = value
        self.job.barrier.wait()
        told = list(self.job.told)
        self.job.barrier.wait()
        return told

    def broadcast(self, array):
        array[...] = self.gather(array.copy())[0]

    def exchange(self, given, received, partner):
        assert given.flags.c_contiguous
        assert received.flags.c_contiguous
        assert not np.shares_memory(given, received)
        self.job.sent[self.rank] += given.nbytes
        self.job.mail[self.rank, partner].put(given.copy())
        received[...] = self.job.mail[partner, self.rank].get(timeout=PATIENCE)

    def abort(self):
        self.job.barrier.abort()


def run(size, work):
    """What work(communicator) returns on each rank; where it raises, the error of the first that was not left alone."""
    job, results, errors = Job(size), [None] * size, []

    def on(rank):
        try:
            results[rank] = work(Rank(job, rank))
        except threading.BrokenBarrierError as error:
            errors.append(error)
        except BaseException as error:
            errors.insert(0, error)
            job.barrier.abort()

    threads = [threading.Thread(target=on, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results, job
