"""The shards of a batch: which samples they are, and what their layers found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..backend import on_device, quietly
from ..kernels import checks
from ..layers import Dropout, Layer
from .communicator import Communicator
from .tree import add_up


class Met:
    """The layers of a net that take part in a step by more than their gradients: batch normalisation with its running
    statistics, dropout with its random numbers. In the order of the net or, where none was given, as they are met."""

    def __init__(self, net: Layer | None) -> None:
        named = () if net is None else (layer for _, layer in net.named_layers())
        self.layers = [layer for layer in named if isinstance(layer, Dropout) or _has_statistics(layer)]
        self.closed = net is not None

    def meet(self, layer: Layer) -> None:
        if any(layer is other for other in self.layers):
            return
        if self.closed and _has_statistics(layer):
            raise RuntimeError(
                f"DistributedOptimizer: {layer!r} was not met in the first batch, and other processes do not know it; "
                "expected a net that has it, DistributedOptimizer(..., net=net)"
            )
        self.layers.append(layer)

    def with_statistics(self) -> Iterable[Layer]:
        return filter(_has_statistics, self.layers)


def _has_statistics(layer: Layer) -> bool:
    return getattr(layer, "running_mean", None) is not None


class Part:
    """A shard that is being computed, as layers see it (layers/shard.py)."""

    def __init__(
        self,
        number: int,
        step: int,
        weight: float,
        met: Met,
        communicator: Communicator | None,
        ends: Callable[[Part, Layer], None] | None,
    ) -> None:
        """weight: the part that it is of the batch. communicator: None where sums over the shards are not to be had
        while they are computed. ends: told of each layer whose backward has returned."""
        self.number, self.step, self.weight, self._ends = number, step, weight, ends
        self.statistics: list[tuple[Layer, tuple[Any, Any]]] = []
        self._met, self._communicator = met, communicator
        self._calls: dict[int, int] = {}

    def call(self, layer: Layer) -> int:
        self._met.meet(layer)
        calls = self._calls.get(id(layer), 0)
        self._calls[id(layer)] = calls + 1
        return calls

    def add_statistics(self, layer: Layer, mean: Any, var: Any) -> None:
        self._met.meet(layer)
        self.statistics.append((layer, (mean, var)))

    def has_finished(self, layer: Layer) -> None:
        if self._ends is not None:
            self._ends(self, layer)

    @quietly
    def total(self, layer: Layer, array: Any) -> Any:
        if self._communicator is None:
            raise checks.value_error(
                repr(layer),
                "sync",
                "True, with several shards in a process or a shard without samples",
                "one shard for each process, and samples in each",
            )
        with on_device(array):
            summed = array.copy()
            add_up(self._communicator, summed)
            return summed


def borders(samples: int, shards: int) -> list[slice]:
    """Shard i of n samples is [i n / S, (i + 1) n / S)."""
    return [slice(i * samples // shards, (i + 1) * samples // shards) for i in range(shards)]
