"""`backstride train` as the processes of a launcher run it, with a small net of all kinds of layers, and with faults:

mpiexec -n 2 python train_program.py FAULT train --shards 4 ...
"""

from __future__ import annotations

import os
import resource
import signal
import sys

from backstride import _files, cli
from backstride.cli.train import settings, state
from backstride.cli.train.run import Run
from backstride.layers import BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Sequential


def network(rng, shape, classes, dtype):
    channels, height, width = shape
    return Sequential(
        Conv2d(channels, 6, 3, padding=1, bias=False, dtype=dtype, rng=rng),
        BatchNorm2d(6, activation="relu", dtype=dtype),
        MaxPool2d(2),
        Dropout(0.2, rng=rng),
        Linear(6 * (height // 2) * (width // 2), classes, dtype=dtype, rng=rng),
    )


def at_step(number, rank, fault):
    """Have a rank do this in the middle of that step."""
    whole, met = Run._backpropagate, []

    def faulty(run, images, labels):
        if run.steps == number - 1 and run.communicator.rank == rank and not met:
            met.append(number)
            fault()
        return whole(run, images, labels)

    Run._backpropagate = faulty


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_save(number, fault):
    """Have rank 0 do this when all of a file is written and nothing renamed."""
    saves, whole = [], _files.os.fsync

    def faulty(descriptor):
        saves.append(descriptor)
        if len(saves) == number:
            fault()
        whole(descriptor)

    _files.os.fsync = faulty


def end():
    os.kill(os.getpid(), signal.SIGTERM)


def fill_disk():
    """The limit on a file's size fails as a full disk does."""
    sys.dont_write_bytecode = True  # which would be cut off too
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))


def other_data():
    whole = Run._facts
    Run._facts = lambda run: {**whole(run), "the checksum of its data": f"of rank {run.communicator.rank}"}


def other_processor():
    whole = state.decides_bits
    state.decides_bits = lambda: {**whole(), "processor": f"of process {os.getpid()}"}


FAULTS = {
    "none": lambda: None,
    "killed_at_step_7": lambda: at_step(7, 1, die),
    "killed_in_a_save": lambda: at_save(3, die),  # each save syncs the file and the folder
    "full_disk": lambda: at_step(5, 0, fill_disk),
    "sigterm_at_step_10": lambda: at_step(10, 1, end),
    "other_data": other_data,
    "other_processor": other_processor,
}

if __name__ == "__main__":
    settings.network = network
    FAULTS[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
