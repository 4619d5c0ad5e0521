"""An optimizer over the gradients of all processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._state import Expected, checked
from ..backend import is_capturing
from ..kernels import checks
from ..layers import Layer, Parameter
from ..layers.shard import computing
from ..optim import Optimizer
from ..optim.groups import Group
from ..optim.optimizer import are_counts
from .agreement import OWNER, check_facts, facts_of_layers, facts_of_program, take_from_rank_0
from .batch import Batch, Ends
from .communicator import Communicator
from .parts import Met, Part, borders
from .statistics import Statistics


class DistributedOptimizer:
    """An optimizer whose step is taken on the gradient of a whole batch, of which each process computed some shards.

    optimizer: of backstride.optim. communicator: of backstride.distributed.communicator. shards: into how many parts a
    batch is cut; the trained bits depend on this number, and not on that of processes. Both are powers of two, and
    every process has as many shards as the others.
    net: the layers whose parameters they are. Without it those with running statistics are known once a batch was
    computed, so that every process must have a sample of the first; with it they, and the seeds of dropout, are
    compared at the start, and on "nccl" gradients are added up while backward goes on.

    The loss is a mean over the samples of a shard, so each shard counts by its length. 16-bit gradients are added up in
    float32. GradScaler and clip_grad_norm take it as they take an optimizer. Parameters, buffers and the optimizer's
    state become those of rank 0 when it is made.

    Raises ValueError for other numbers of shards and processes, and where processes run different programs: another
    version, other parameters, options or layers.

    >>> import numpy as np
    >>> from backstride.distributed import DistributedOptimizer, communicator
    >>> from backstride.layers import CrossEntropyLoss, Linear, Sequential
    >>> from backstride.optim import SGD, clip_grad_norm
    >>> net, loss = Sequential(Linear(4, 3, rng=0)), CrossEntropyLoss()
    >>> optimizer = DistributedOptimizer(SGD(net.parameters(), lr=0.1), communicator("single"), shards=4, net=net)
    >>> batch = np.ones((10, 4), np.float32), np.arange(10) % 3
    >>> for x, labels in optimizer.shards(batch):  # this process's shards, in order: here all four
    ...     value = loss(net(x), labels)
    ...     dx = net.backward(loss.backward(), needs_input_grad=False)
    >>> optimizer.reduce()  # which step() would do too
    >>> norm = clip_grad_norm(optimizer, 1.0)
    >>> optimizer.step()
    >>> optimizer.steps
    1
    """

    def __init__(
        self, optimizer: Optimizer, communicator: Communicator, shards: int, *, net: Layer | None = None
    ) -> None:
        self.optimizer, self.communicator = optimizer, communicator
        self.shard_count = _checked_shards(shards, communicator)
        each = self.shard_count // communicator.size
        self._own = range(communicator.rank * each, (communicator.rank + 1) * each)
        self._met = Met(net)
        check_facts(communicator.gather(facts_of_program(optimizer, self.shard_count, self._met.layers, net)))
        self._start_from_rank_0(net)
        self._ends = Ends(net) if net is not None and communicator.overlaps else None
        self.batches = 0
        """How many have been begun."""
        self._batch: Batch | None = None
        self._is_reduced = False

    def _start_from_rank_0(self, net: Layer | None) -> None:
        if self.communicator.size == 1:
            return
        state = self.optimizer.state_dict()
        held = [p.data for p in self.optimizer.parameters]
        held += [] if net is None else [buffer.data for _, buffer in net.named_buffers()]
        take_from_rank_0(self.communicator, [*held, *state.values()])
        self.optimizer.load_state_dict(state)

    def shards(self, batch: Any) -> Iterator[Any]:
        """This process's shards of a batch, in order; run forward and backward on each.

        batch: an array, or a tuple or list of arrays, of samples along the first axis: the whole batch, the same on
        every process. Shard i of n samples is [i n / S, (i + 1) n / S). One that has none is passed over, and its
        gradient is 0. The gradients that parameters have are dropped; after each shard its own are taken.
        Raises ValueError for arrays of different lengths, and RuntimeError before the step of the last batch, or in a
        captured step.
        """
        arrays = batch if isinstance(batch, (tuple, list)) else (batch,)
        lengths = [len(array) for array in arrays]
        if len(set(lengths)) != 1:
            raise checks.value_error(OWNER, "the lengths of the arrays of a batch", lengths, "all the same")
        if is_capturing(self.parameters[0].data):
            raise RuntimeError(f"{OWNER}: shards was called in a captured step; expected it outside of one")
        if self._batch is not None and self._batch.is_complete:
            raise RuntimeError(f"{OWNER}: shards was called before the step of the last batch")
        return self._shards(batch, arrays, lengths[0])

    def _shards(self, batch: Any, arrays: Any, samples: int) -> Iterator[Any]:
        self._drop()
        for parameter in self.parameters:
            parameter.grad = None
        current = self._batch = Batch(self.parameters, self.communicator, self._ends, samples, self.batches)
        self.batches += 1
        self._is_reduced = False
        by_itself = self.communicator if self.shard_count == self.communicator.size <= samples else None
        every = borders(samples, self.shard_count)
        for number in self._own:
            length = every[number].stop - every[number].start
            weight = length / max(samples, 1)
            last = current.has_finished if number == self._own[-1] else None
            part = Part(number, current.number, weight, self._met, by_itself, last)
            if length:
                with computing(part):
                    parts = [array[every[number]] for array in arrays]
                    yield type(batch)(parts) if isinstance(batch, (tuple, list)) else parts[0]
            current.add(part)
        current.is_complete = True

    def reduce(self) -> None:
        """Add up the gradients of all shards of the batch, once; step() calls it. Every process calls it.

        Raises RuntimeError where not all shards were computed, and ValueError where processes had different batches.
        """
        batch = self._batch
        if batch is None or not batch.is_complete:
            raise RuntimeError(
                f"{OWNER}: not all shards of a batch were computed; "
                "expected `for ... in optimizer.shards(batch)` to its end before each step"
            )
        if self._is_reduced:
            return
        statistics = Statistics(self._met.with_statistics())
        for part in batch.parts:
            statistics.add(part.weight, part.statistics)
        found = batch.gradients() if self._ends else None  # of which some ranks have sent the first
        have_grad, known = self._agree(batch, statistics.known())
        found = found or batch.gradients()
        statistics.apply(self.communicator, known)
        self.optimizer.gradients = [g if is_known else None for g, is_known in zip(found, have_grad, strict=True)]
        self._is_reduced = True

    def _agree(self, batch: Batch, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which parameters have a gradient, and which layers statistics, on any process."""
        facts = {"the number of the batch": str(batch.number), "the batch's length": str(batch.samples)}
        facts["the set of trained parameters"] = str([b.numbers for b in batch.buckets])
        hint = ""
        if not self._met.closed:
            facts |= facts_of_layers(self._met.layers)
            hint = " (a process without a sample in the first batch has them from DistributedOptimizer(..., net=net))"
        told = self.communicator.gather((facts, batch.have_grad, known))
        check_facts([theirs for theirs, _, _ in told], hint)
        self._met.closed = True
        have_grad, known = (np.logical_or.reduce([each[place] for each in told]) for place in (1, 2))
        return have_grad, known

    def step(self) -> None:
        """Update every parameter once, by the gradient of the whole batch; the same on every process."""
        self.reduce()
        self.optimizer.step()
        self._drop()

    def zero_grad(self) -> None:
        """Drop the gradients: the batch has no step."""
        self.optimizer.zero_grad()
        self._drop()

    def _drop(self) -> None:
        if self._batch is not None:
            self._batch.join()
        self.optimizer.gradients, self._batch = None, None

    def gradient_norm(self) -> Any:
        """As Optimizer.gradient_norm, of the gradient of the whole batch."""
        self.reduce()
        return self.optimizer.gradient_norm()

    def scale_gradients(self, factor: Any) -> None:
        """As Optimizer.scale_gradients."""
        self.optimizer.scale_gradients(factor)

    def skip_step(self, condition: Any) -> None:
        """As Optimizer.skip_step."""
        self.optimizer.skip_step(condition)

    @property
    def parameters(self) -> list[Parameter]:
        return self.optimizer.parameters

    @property
    def groups(self) -> list[Group]:
        return self.optimizer.groups

    @property
    def lr(self) -> float:
        """As Optimizer.lr; set it on every process."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value

    @property
    def steps(self) -> int:
        """As Optimizer.steps."""
        return self.optimizer.steps

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, and "batches", how many have been begun, which dropout goes by."""
        return {"batches": np.array(self.batches), **self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, on every process; one of a plain optimizer will do. Raises as Optimizer's."""
        own = self.check_state_dict(state)
        self.optimizer.load_state_dict({name: array for name, array in state.items() if name != "batches"})
        self.batches = int(own["batches"])

    def check_state_dict(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        found = self.optimizer.check_state_dict({name: array for name, array in state.items() if name != "batches"})
        whole = Expected(((),), np.dtype(np.int64), "a whole number of at least 0", are_counts)
        given = {"batches": state.get("batches", found["steps"])}
        return {**checked(OWNER, {"batches": whole}, given), **found}


def _checked_shards(shards: Any, communicator: Communicator) -> int:
    count, size = checks.integer(OWNER, "shards", shards, 1), communicator.size
    for name, number in (("shards", count), ("the number of processes", size)):
        if number & (number - 1):
            raise checks.value_error(OWNER, name, number, "a power of two")
    if size > count:
        raise checks.value_error(OWNER, "the number of processes", size, f"at most shards, which is {count}")
    return count
