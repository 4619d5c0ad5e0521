"""What tests run under mpiexec: mpi_program.py NAME, one of the functions below."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from data_parallel import Training, network

from backstride import backend
from backstride.distributed import agreement, communicator, heartbeat
from backstride.layers import Linear, Sequential
from backstride.optim import Adam

STEPS = 20
SCENARIOS = {
    "float32": {},
    "float16": {"dtype": "float16"},
    "no net": {"with_net": False},
    "Adam": {"optimizer": Adam},
}
LATE = 4.0  # seconds of silence, after which a rank has died: a busy machine lets one wait for some


def digests(ranks):
    """Of each scenario, as every rank has it."""
    found = {}
    for name, options in SCENARIOS.items():
        training = Training(ranks, 4, **options)
        for step in range(STEPS):
            training.step(step)
        found[name] = training.digest()
    told = ranks.gather(found)
    if ranks.rank == 0:
        print(json.dumps(told))


digests_of_gpus = digests


def _trains(ranks, before_step=lambda step: None, **options):
    training = Training(ranks, 4, **options)
    for step in range(STEPS):
        before_step(step)
        training.step(step)
    print(f"rank {ranks.rank} has trained", flush=True)


def _ends_in_backward(ranks, how):
    net = network()
    if ranks.rank == 1:
        calls = []
        backward = net.backward

        def ends(*given, **options):
            calls.append(1)
            if len(calls) == 7:
                os.kill(os.getpid(), how)
            return backward(*given, **options)

        net.backward = ends
    _trains(ranks, net=net)


def killed_in_backward(ranks):
    _ends_in_backward(ranks, signal.SIGKILL)


def stopped_in_backward(ranks):
    """Which no launcher sees."""
    _ends_in_backward(ranks, signal.SIGSTOP)


def killed_in_a_reduction(ranks):
    def last_step(step):
        if ranks.rank == 1 and step == 3:
            ranks.exchange = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

    _trains(ranks, last_step)


def raises_in_a_step(ranks):
    def fails(step):
        if ranks.rank == 1 and step == 2:
            raise ZeroDivisionError("on purpose")

    _trains(ranks, fails)


def leaves_early(ranks):
    def leave(step):
        if ranks.rank == 1 and step == 2:
            sys.exit(0)

    _trains(ranks, leave)


def is_stuck(ranks):
    def sleep(step):
        if ranks.rank == 1 and step == 2:
            time.sleep(60)

    _trains(ranks, sleep)


def is_slow(ranks):
    """Longer than a rank may be silent."""

    def sleep(step):
        if ranks.rank == 1 and step == 2:
            time.sleep(2 * LATE)

    _trains(ranks, sleep)


def has_another_version(ranks):
    if ranks.rank == 1:
        agreement.__version__ = "0.0.1"
    _trains(ranks)


def has_another_net(ranks):
    _trains(ranks, net=network(width=6 + ranks.rank))


def has_no_dropout(ranks):
    """The same parameters: only the layers tell."""
    net = network()
    _trains(ranks, net=net if ranks.rank == 0 else Sequential(*(net[place] for place in (0, 1, 2, 4, 5))))


def is_too_many(ranks):
    Training(ranks, 1, net=Sequential(Linear(2, 2)))


if __name__ == "__main__":
    name = sys.argv[1]
    on_gpus = name == "digests_of_gpus"
    backend.set_backend("cupy" if on_gpus else "numpy")
    if name in ("stopped_in_backward", "is_slow"):
        heartbeat.INTERVAL, heartbeat.SILENCE = LATE / 8, LATE
    options = {"timeout": 2.0} if name == "is_stuck" else {}
    globals()[name](communicator("nccl" if on_gpus else "mpi", **options))
