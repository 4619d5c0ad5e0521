"""Running statistics of batch normalisation over the shards of a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import get_array_module, on_device, quietly
from ..layers import Layer
from .communicator import Communicator
from .tree import Tree, add_up

Found = tuple[Layer, tuple[Any, Any]]
"""A layer, and the mean and the unbiased variance of a call of it; None where it had none."""


class Statistics:
    """What the shards of a step found, which is added up in the tree; the running statistics of each layer then follow
    the mean over the batch, once a step.

    layers: those that have running statistics, in an order that is every process's.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers: list[Any] = list(layers)
        self._shards: list[tuple[float, list[Found]]] = []

    def add(self, weight: float, found: list[Found]) -> None:
        """Of the next shard of this process."""
        self._shards.append((weight, found))

    def known(self) -> np.ndarray:
        """By layer, whether a shard of this process has a mean of it, and whether a variance."""
        known = np.zeros((len(self._layers), 2), np.bool_)
        places = {id(layer): place for place, layer in enumerate(self._layers)}
        for _, found in self._shards:
            for layer, pair in found:
                known[places[id(layer)]] |= [each is not None for each in pair]
        return known

    @quietly
    def apply(self, communicator: Communicator, known: np.ndarray) -> None:
        """Let the layers follow. known: as above, of all processes together."""
        by_dtype: dict[np.dtype, list[tuple[Any, int]]] = {}
        for layer, both in zip(self._layers, known, strict=True):
            entries = [(layer, which) for which in (0, 1) if both[which]]
            by_dtype.setdefault(layer.running_mean.data.dtype, []).extend(entries)
        for entries in filter(None, by_dtype.values()):
            with on_device(entries[0][0].running_mean.data):
                self._follow(communicator, entries)
        self._shards.clear()

    def _follow(self, communicator: Communicator, entries: list[tuple[Any, int]]) -> None:
        """entries: the layers, each with 0 for its mean and 1 for its variance."""
        tree = Tree()
        for weight, found in self._shards:
            tree.add(_leaf(entries, weight, found))
        array = tree.take()
        add_up(communicator, array)
        *sums, weights = _split(array, entries)
        means: dict[int, list[Any]] = {}
        for place, ((layer, which), values) in enumerate(zip(entries, sums, strict=True)):
            pair = means.setdefault(id(layer), [layer, None, None])
            pair[1 + which] = values / weights[place : place + 1]
        for layer, mean, var in means.values():
            layer.follow(mean, var)


def _leaf(entries: list[tuple[Any, int]], weight: float, found: list[Found]) -> Any:
    """The sums over calls of each entry times the weight of the shard, then the weights of each entry."""
    running = entries[0][0].running_mean.data
    xp = get_array_module(running)
    array = xp.zeros(sum(layer.num_features for layer, _ in entries) + len(entries), running.dtype)
    *sums, weights = _split(array, entries)
    calls = np.zeros(len(entries), running.dtype)
    places = {(id(layer), which): place for place, (layer, which) in enumerate(entries)}
    for layer, pair in found:
        for which, values in enumerate(pair):
            if values is not None:
                sums[places[id(layer), which]] += values
                calls[places[id(layer), which]] += 1
    weights[...] = xp.asarray(calls)
    array *= weight
    return array


def _split(array: Any, entries: list[tuple[Any, int]]) -> list[Any]:
    """Views of the values of each entry, and of what comes after them."""
    parts, start = [], 0
    for layer, _ in entries:
        parts.append(array[start : start + layer.num_features])
        start += layer.num_features
    return [*parts, array[start:]]
