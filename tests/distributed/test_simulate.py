"""The scaling model, beside closed forms and beside the exchange that it is a model of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import thread_ranks

from backstride import models, use_jit
from backstride.distributed import simulate
from backstride.distributed.simulate import Cluster, Link, Schedule
from backstride.distributed.tree import add_up
from backstride.layers import BatchNorm2d, Conv2d, Linear, Sequential

ALPHA, BETA = 2e-6, 3e9
LINK, NOTHING = Link(ALPHA, BETA), Link(0.0, math.inf)
SIZE = 1 << 20


def flat(processes, link=LINK):
    return Cluster(processes, 1, link, link)


@pytest.mark.parametrize("processes", [1, 2, 8, 512])
def test_one_bucket(processes):
    """2 log2(P) messages, 2 (P-1)/P of the bytes."""
    expected = 2 * math.log2(processes) * ALPHA + 2 * (processes - 1) / processes * SIZE / BETA
    assert flat(processes).exchange(SIZE) == pytest.approx(expected, rel=1e-12)
    assert Schedule(1.0, ((0.5, SIZE),)).on(flat(processes)) == pytest.approx(max(1.0, 0.5 + expected))
    assert Schedule(1.0, ((0.5, SIZE),)).on(flat(processes), overlaps=False) == pytest.approx(1.0 + expected)


def test_nodes():
    """Of n bytes the half and all its parts but 1/G of them stay in a node of G."""
    inside, between = Link(1e-6, 100e9), Link(9e-6, 10e9)
    expected = 2 * (3 * 1e-6 + (1 - 1 / 8) * SIZE / 100e9) + 2 * (2 * 9e-6 + (1 / 8 - 1 / 32) * SIZE / 10e9)
    assert Cluster(32, 8, inside, between).exchange(SIZE) == pytest.approx(expected, rel=1e-12)
    assert Cluster(8, 8, inside, between).exchange(SIZE) == pytest.approx(flat(8, inside).exchange(SIZE), rel=1e-12)


def test_many_buckets(rng):
    """The end is that of the bucket which all later ones wait for: it is ready, and then all of them are sent."""
    for _ in range(50):
        ready = np.sort(rng.random(6))
        sizes = rng.integers(1, 2 * BETA // 10, 6)
        costs = [flat(4).exchange(int(size)) for size in sizes]
        expected = max(1.0, *(ready[i] + sum(costs[i:]) for i in range(6)))
        schedule = Schedule(1.0, tuple(zip(ready.tolist(), sizes.tolist(), strict=True)))
        assert schedule.on(flat(4)) == pytest.approx(expected)
        assert schedule.on(flat(4), overlaps=False) == pytest.approx(1.0 + sum(costs))
        assert schedule.on(flat(4, NOTHING)) == 1.0
        assert schedule.lasting(2.0).on(flat(4, NOTHING)) == 2.0


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_the_bytes_are_those_that_are_sent(processes):
    """With a second for each byte."""
    sent = []

    def work(communicator):
        add_up(communicator, np.ones(64 * processes, np.float32))
        communicator.gather(None)
        sent.append(communicator.job.sent[communicator.rank])

    thread_ranks.run(processes, work)
    assert sent == [flat(processes, Link(0.0, 1.0)).exchange(64 * processes * 4)] * processes


def test_what_is_recorded(monkeypatch):
    monkeypatch.setattr("backstride.distributed.buckets.BYTES", 1000)
    net = Sequential(Conv2d(1, 6, 3, rng=0), BatchNorm2d(6), Linear(6 * 36, 10, rng=1))
    before = [buffer.data.copy() for _, buffer in net.named_buffers()]
    schedule = simulate.record(net, np.ones((4, 1, 8, 8), np.float32), np.arange(4))
    (first, large), (last, small) = schedule.buckets
    assert (large, small) == ((216 * 10 + 10) * 4, (6 + 6 + 54 + 6) * 4)
    assert 0 < first <= last <= schedule.seconds
    for old, (_, buffer) in zip(before, net.named_buffers(), strict=True):
        np.testing.assert_array_equal(old, buffer.data)


def test_the_command(capsys):
    with use_jit(False):
        simulate.main("--model lenet5 --image-size 32 --compute-ms 50 --processes 1 64".split())
    _, alone, many = capsys.readouterr().out.splitlines()
    assert alone.split() == "1 0.0 MB 0.0 ms 50.0 ms 100.0% 50.0 ms (100.0%)".split()
    size = 4 * sum(parameter.data.size for parameter in models.lenet5().parameters())
    assert many.split()[:3] == ["64", f"{2 * 63 / 64 * size / 1e6:.1f}", "MB"]
    with pytest.raises(SystemExit):
        simulate.main(["--processes", "6"])
    assert "'6' is not 1, 2, 4, 8" in capsys.readouterr().err
