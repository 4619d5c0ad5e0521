"""The gradients of one batch: shard by shard into the tree, and over all processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import on_device
from ..layers import Layer, Parameter, Sequential
from .buckets import Bucket, buckets
from .communicator import Communicator
from .parts import Part
from .tree import Tree, add_up


class Ends:
    """Whose backward must have returned before a gradient is complete.

    Of a Sequential, and of the Sequentials among its layers, that is each layer that holds the parameter. What a layer
    of another kind calls within is its own.
    """

    def __init__(self, net: Layer) -> None:
        self.held: dict[int, list[int]] = {}
        """By the id of a layer, the ids of its parameters."""
        self.holders: dict[int, int] = {}
        """By the id of a parameter, how many layers hold it."""
        self._visit(net)

    def _visit(self, layer: Layer) -> None:
        for _, child in layer.children():
            if isinstance(child, Sequential):
                self._visit(child)
                continue
            own = [id(parameter) for parameter in child.parameters()]
            self.held[id(child)] = own
            for each in own:
                self.holders[each] = self.holders.get(each, 0) + 1


class Batch:
    """A batch of so many samples, number `number`, as far as this process has computed it."""

    def __init__(
        self, parameters: list[Parameter], communicator: Communicator, ends: Ends | None, samples: int, number: int
    ) -> None:
        """ends: None where nothing is to be added up over the processes before backward has returned."""
        self.samples, self.number, self.is_complete = samples, number, False
        self.buckets: list[Bucket] = buckets(parameters)
        self.parts: list[Part] = []
        self.have_grad = np.zeros(len(parameters), np.bool_)
        self._trees = [Tree() for _ in self.buckets]
        self._sums: list[Any] = []
        """Of the first buckets, which have been given to the communicator."""
        self._parameters, self._communicator, self._ends = parameters, communicator, ends
        self._waiting = dict(ends.holders) if ends else {}

    def has_finished(self, part: Part, layer: Layer) -> None:
        """In the last shard of this process: the layer's backward has returned."""
        if self._ends is None:
            return
        for parameter in self._ends.held.get(id(layer), ()):
            self._waiting[parameter] -= 1
        while len(self._sums) < len(self.buckets):
            place = len(self._sums)
            if any(self._waiting.get(id(parameter), 1) > 0 for parameter in self.buckets[place].parameters):
                break
            self._take(place, part)
            self._give()

    def add(self, part: Part) -> None:
        """The shard has been computed, unless it has no samples."""
        self.parts.append(part)
        given = len(self._sums)
        if any(p.grad is not None for bucket in self.buckets[:given] for p in bucket.parameters):
            raise RuntimeError(
                "DistributedOptimizer: gradients were found after they had been sent; expected one forward and one "
                "backward of the net in a shard, or DistributedOptimizer without net"
            )
        for place in range(given, len(self.buckets)):
            self._take(place, part)

    def _take(self, place: int, part: Part) -> None:
        """The shard's gradients of a bucket."""
        bucket = self.buckets[place]
        for number, parameter in zip(bucket.numbers, bucket.parameters, strict=True):
            self.have_grad[number] |= parameter.grad is not None
        self._trees[place].add(bucket.leaf(part.weight) if part.weight else bucket.zeros())

    def _give(self) -> None:
        """The sum of the next bucket over this process's shards to the communicator."""
        array = self._trees[len(self._sums)].take()
        with on_device(array), self._communicator.beside():
            add_up(self._communicator, array)
        self._sums.append(array)

    def gradients(self) -> list[Any]:
        """By parameter, the sum over all processes; None where it is frozen."""
        while len(self._sums) < len(self.buckets):
            self._give()
        self.join()
        found: list[Any] = [None] * len(self._parameters)
        for bucket, array in zip(self.buckets, self._sums, strict=True):
            for number, gradient in bucket.gradients(array).items():
                found[number] = gradient
        return found

    def join(self) -> None:
        """Further work, which may use the memory of what was given, comes after the communicator's."""
        with on_device(self._parameters[0].data):
            self._communicator.join()
