"""What layers are told of the part of a batch that they compute in data-parallel training (backstride.distributed)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .base import Layer


class Shard(Protocol):
    """One part of a batch. number: which of the parts. step: which batch. weight: its samples over the batch's."""

    number: int
    step: int
    weight: float

    def call(self, layer: Layer) -> int:
        """How often this layer, which draws random numbers, was called in this shard before."""

    def add_statistics(self, layer: Layer, mean: Any, var: Any) -> None:
        """What the running statistics of the layer are to follow, once a step; None where there is none."""

    def total(self, layer: Layer, array: Any) -> Any:
        """The sum of the arrays of one axis that this layer gives in all shards; ValueError where a process has more
        than one shard, or a shard no samples."""

    def has_finished(self, layer: Layer) -> None:
        """The backward of this layer of a Sequential has returned."""


_current: ContextVar[Shard | None] = ContextVar("backstride_shard", default=None)


def current_shard() -> Shard | None:
    """The shard that is being computed; None outside of data-parallel training."""
    return _current.get()


@contextmanager
def computing(shard: Shard) -> Iterator[None]:
    """Inside a with block, for this thread or task, layers belong to this shard."""
    _current.set(shard)
    try:
        yield
    finally:
        _current.set(None)  # no token: a loop that is left half-way may be closed in another context
