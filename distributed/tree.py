"""Sums over shards in the order of one binary tree, however the shards are spread over processes.

The tree's leaves are the shards in order; each inner node adds its right half to its left. A process has a whole
subtree, so that first it adds on its own and then the processes add in pairs, in fours, ...
"""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module, on_device, quietly
from .communicator import Communicator


class Tree:
    """The sum of arrays that come one after another. At most log2(arrays) + 1 of them are held."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, Any]] = []
        """Sums that wait for their right half, with the number of leaves in each: the ones of a binary counter."""

    @quietly
    def add(self, array: Any) -> None:
        """The next leaf, which is the tree's from now on."""
        leaves = 1
        while self._nodes and self._nodes[-1][0] == leaves:
            left = self._nodes.pop()[1]
            with on_device(left):
                left += array
            array, leaves = left, 2 * leaves
        self._nodes.append((leaves, array))

    def take(self) -> Any:
        """The sum of all leaves, a power of two of them."""
        ((_, array),) = self._nodes
        self._nodes.clear()
        return array


@quietly
def add_up(communicator: Communicator, array: Any) -> None:
    """Replace this contiguous array of one axis by the sum of those of all processes.

    Recursive halving: of what they have summed so far, two processes at distance 1, 2, 4, ... each take one half and
    give the other. Then doubling, the same way back (Thakur, Rabenseifner and Gropp, Optimization of collective
    communication operations in MPICH, 2005, with the nearest first). Each sends 2 (P-1)/P of the array's bytes.
    """
    xp, halves, own = get_array_module(array), [], slice(0, len(array))
    for distance in _distances(communicator.size):
        middle = (own.start + own.stop) // 2
        lower, upper = slice(own.start, middle), slice(middle, own.stop)
        is_left = communicator.rank & distance == 0
        own, given = (lower, upper) if is_left else (upper, lower)
        received = xp.empty(own.stop - own.start, array.dtype)
        communicator.exchange(array[given], received, communicator.rank ^ distance)
        xp.add(*((array[own], received) if is_left else (received, array[own])), out=array[own])
        halves.append((own, given))
    for distance, (own, other) in zip(reversed(_distances(communicator.size)), reversed(halves), strict=True):
        communicator.exchange(array[own], array[other], communicator.rank ^ distance)


def _distances(size: int) -> list[int]:
    return [1 << bit for bit in range(size.bit_length() - 1)]
