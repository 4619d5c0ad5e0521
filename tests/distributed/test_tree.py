"""Sums over shards are those of one binary tree, in however many processes."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import thread_ranks

from backstride.distributed.tree import Tree, add_up


def in_a_tree(arrays):
    """By the definition."""
    half = len(arrays) // 2
    return arrays[0] if not half else in_a_tree(arrays[:half]) + in_a_tree(arrays[half:])


def leaves(rng, count, length=1000):
    """Sums of these in another order have other bits."""
    return [
        (rng.standard_normal(length) * 10.0 ** rng.integers(-4, 4, length)).astype(np.float32) for _ in range(count)
    ]


def folded(arrays):
    tree = Tree()
    for array in arrays:
        tree.add(array.copy())
    return tree.take()


def test_the_order_shows(rng):
    arrays = leaves(rng, 8)
    assert sum(arrays[1:], arrays[0]).tobytes() != in_a_tree(arrays).tobytes()


@pytest.mark.parametrize("count", [1, 2, 4, 32])
def test_one_process(count, rng):
    arrays = leaves(rng, count)
    assert folded(arrays).tobytes() == in_a_tree(arrays).tobytes()


class Array(np.ndarray):
    """Weakly referred to."""


def test_copies_that_are_held(rng):
    tree, given, most = Tree(), [], 0
    for array in leaves(rng, 32):
        leaf = array.view(Array)
        given.append(weakref.ref(leaf))
        tree.add(leaf)
        del leaf
        most = max(most, sum(each() is not None for each in given))
    assert most == 5  # after 31 leaves; with the one that comes then 6, that is log2(32) + 1


@pytest.mark.parametrize("length", [0, 1, 3, 1000, 1003])
@pytest.mark.parametrize(("size", "shards"), [(1, 4), (2, 2), (2, 8), (4, 4), (8, 8)])
def test_processes(size, shards, length, rng):
    arrays = leaves(rng, shards, length)

    def work(rank):
        each = shards // size
        own = folded(arrays[rank.rank * each : (rank.rank + 1) * each])
        add_up(rank, own)
        return own

    results, _ = thread_ranks.run(size, work)
    for found in results:
        assert found.tobytes() == in_a_tree(arrays).tobytes()


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_bytes(size):
    """Those of a ring."""
    array = np.zeros(1024, np.float32)
    _, job = thread_ranks.run(size, lambda rank: add_up(rank, array.copy()))
    assert job.sent == [2 * (size - 1) * array.nbytes // size] * size
