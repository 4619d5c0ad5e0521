"""NCCL: what it is asked for, in which order, on which streams; and the sums that come of it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import subprocess
import sys
import warnings
from pathlib import Path

import cupys
import mpi_program
import nccl_ranks
import numpy as np
import pytest
import thread_ranks
from data_parallel import Training, network

from backstride.distributed import DistributedOptimizer, buckets, communicator
from backstride.distributed import nccl as nccl_module
from backstride.distributed.tree import add_up
from backstride.layers import Linear, Sequential
from backstride.optim import SGD


@pytest.fixture
def cupy(monkeypatch):
    with cupys.emulated(monkeypatch) as library:
        yield library


@pytest.fixture
def log(cupy, monkeypatch):
    """What streams wait for: (the stream, the stream on which the event was recorded)."""
    waits = []
    monkeypatch.setattr(cupy.cuda.Stream, "wait_event", lambda self, event: waits.append((self, event.recorded_on)))
    return waits


def copy(destination, source, count, stream, wait):
    ctypes.memmove(destination, source, count)


@pytest.mark.parametrize("size", [2, 4])
def test_sums_order_and_streams(size, cupy, log, rng, monkeypatch):
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    arrays = [rng.standard_normal(999).astype(np.float32) for _ in range(size)]
    made = nccl_ranks.communicators(copy)

    def work(rank):
        ours, array, current = made(rank), cupy.asarray(arrays[rank.rank]), cupy.cuda.Stream()
        with current:
            with ours.beside():
                add_up(ours, array)
            ours.join()
        return array, ours._nccl.calls, ours._stream, current

    with cupys.no_waiting():
        results, _ = thread_ranks.run(size, work)
    pairs = [a + b for a, b in zip(arrays[::2], arrays[1::2], strict=True)]
    expected = pairs[0] if size == 2 else pairs[0] + pairs[1]
    for rank, (found, calls, own, current) in enumerate(results):
        assert found.get().tobytes() == expected.tobytes()
        assert {stream for *_, stream in calls} == {own.ptr}
        assert own.ptr != current.ptr
        partners = [rank ^ 1] if size == 2 else [rank ^ 1, rank ^ 2]
        assert [peer for what, _, peer, _ in calls if what == "send"] == [*partners, *reversed(partners)]
        assert abs(sum(count for what, count, *_ in calls if what == "send") - 2 * (size - 1) * 3996 / size) <= 8
        assert [wait for wait in log if own in wait] == [(own, current), (current, own)]


class OverlappingRank(thread_ranks.Rank):
    """Overlaps, and says when."""

    overlaps = True

    def __init__(self, rank, said):
        super().__init__(rank.job, rank.rank)
        self.said = said

    @contextlib.contextmanager
    def beside(self):
        self.said.append("sum")
        yield


class Saying(Linear):
    def backward(self, dy, *, needs_input_grad=True):
        self.said.append(self.out_features)
        return super().backward(dy, needs_input_grad=needs_input_grad)


def test_sums_begin_during_the_last_backward(monkeypatch):
    monkeypatch.setattr(buckets, "BYTES", 1)

    def work(rank):
        said = []
        net = Sequential(Saying(5, 4, rng=0), Sequential(Saying(4, 3, rng=1), Saying(3, 2, bias=False, rng=2)))
        net[0].said = net[1][0].said = net[1][1].said = said
        optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), OverlappingRank(rank, said), 4, net=net)
        for x in optimizer.shards(np.ones((8, 5), np.float32)):
            net.backward(net(x))
        optimizer.step()
        return said

    results, _ = thread_ranks.run(2, work)
    assert results == [[2, 3, 4, 2, "sum", 3, "sum", "sum", 4, "sum", "sum"]] * 2


def test_overlapping_sums_train_the_same_bits(monkeypatch):
    """In many buckets, with shards that have no samples."""

    def work(rank):
        training = Training(rank, 4)
        for step in range(4):
            training.step(step)
        return training.digest()

    expected = work(communicator("single"))
    monkeypatch.setattr(buckets, "BYTES", 8)
    for size in (2, 4):
        results, _ = thread_ranks.run(size, lambda rank: work(OverlappingRank(rank, [])))
        assert results == [expected] * size


def test_a_parameter_of_two_layers(monkeypatch):
    """Its gradient is complete after the backward of the first of them."""
    monkeypatch.setattr(buckets, "BYTES", 1)

    def work(rank):
        first, second = Saying(3, 3, bias=False, rng=0), Saying(3, 3, bias=False, rng=1)
        second.weight = first.weight
        said = first.said = second.said = []
        net = Sequential(first, second)
        ours = rank if rank.size == 1 else OverlappingRank(rank, said)
        optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), ours, 2, net=net)
        for x in optimizer.shards(np.arange(12, dtype=np.float32).reshape(4, 3)):
            net.backward(net(x))
        optimizer.step()
        return said, first.weight.data.tobytes()

    results, _ = thread_ranks.run(2, work)
    assert results[0][0] == [3, 3, "sum"]
    assert {bits for _, bits in results} == {work(communicator("single"))[1]}


def test_a_second_backward_in_the_last_shard_comes_too_late():
    def work(rank):
        net = network()
        optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), OverlappingRank(rank, []), 2, net=net)
        for x in optimizer.shards(np.ones((4, 1, 8, 8), np.float32)):
            for _ in range(2):
                net.backward(net(x))

    with pytest.raises(RuntimeError, match="gradients were found after they had been sent"):
        thread_ranks.run(2, work)


def test_gpus_of_a_machine(cupy, monkeypatch):
    """A process for each; one too many is refused."""
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 2)
    made = nccl_ranks.communicators(copy)
    results, _ = thread_ranks.run(2, lambda rank: made(rank) and cupy.cuda.Device().id)
    assert results == [0, 1]
    made = nccl_ranks.communicators(copy)
    with pytest.raises(RuntimeError, match=r"rank 2 is process 3 of .*, which has 2 GPUs; expected one for each"):
        thread_ranks.run(4, made)


def test_without_the_library(monkeypatch):
    pytest.importorskip("cupy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's own, where it is missing
        from cupy.cuda import nccl
    monkeypatch.setattr(nccl, "available", False)
    with pytest.raises(RuntimeError, match=r"communicator\('nccl'\): CuPy finds no NCCL library: pip install"):
        communicator("nccl")


@pytest.mark.skipif("cupy" in sys.modules, reason="CuPy is here")
def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r"communicator\('nccl'\): there is no CuPy .*pip install"):
        nccl_module.load_nccl()


@pytest.fixture
def real_nccl(monkeypatch):
    pytest.importorskip("mpi4py")
    with cupys.real(monkeypatch) as cupy:
        try:
            nccl_module.load_nccl()
        except RuntimeError as error:
            pytest.skip(str(error))
        yield cupy


def test_real_exchange_with_itself(real_nccl, rng):
    cupy, ours = real_nccl, communicator("nccl")
    if ours.size > 1:
        pytest.skip("runs in one process")
    x = rng.standard_normal(1000).astype(np.float32)
    with ours.beside():
        given = cupy.asarray(x) * 2
        received = cupy.empty_like(given)
        ours.exchange(given, received, 0)
    ours.join()
    np.testing.assert_array_equal(received.get(), x * 2)


def test_real_processes_train_the_same_bits(real_nccl):
    """One process for each of two GPUs."""
    if real_nccl.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU")
    launcher = Path(sys.executable).with_name("mpiexec")
    found = []
    for processes in (1, 2):
        command = [str(launcher), "-n", str(processes), sys.executable, mpi_program.__file__, "digests_of_gpus"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        found += json.loads(done.stdout)
    assert found == [found[0]] * 3
