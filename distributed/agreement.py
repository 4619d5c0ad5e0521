"""What must be the same on every process of a job, compared before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..backend import get_array_module, on_device, to_numpy
from ..batch_invariance import get_batch_invariant
from ..jit import get_jit
from ..layers import Layer
from ..optim import Optimizer
from ..precision import get_float32_precision
from .communicator import Communicator

OWNER = "DistributedOptimizer"

Facts = Mapping[str, str]


def check_facts(all_facts: Sequence[Facts], hint: str = "") -> None:
    """ValueError that names the first rank that differs from rank 0, and in what."""
    reference = all_facts[0]
    for rank, facts in enumerate(all_facts):
        for name in dict.fromkeys((*reference, *facts)):
            ours, theirs = (found.get(name, "not there") for found in (reference, facts))
            if ours != theirs:
                raise ValueError(
                    f"{OWNER}: {name} is {theirs} on rank {rank} and {ours} on rank 0; "
                    f"expected the same on every rank{hint}"
                )


def facts_of_program(optimizer: Optimizer, shards: int, layers: Iterable[Layer], net: Layer | None) -> Facts:
    """What all processes of a job must have in common."""
    facts = {
        "the version of backstride": __version__,
        "shards": str(shards),
        "the library": get_array_module(optimizer.parameters[0].data).__name__,
        "the precision of float32 products": get_float32_precision(),
        "the jit switch": str(get_jit()),
        "the batch invariance switch": str(get_batch_invariant()),
        "the optimizer": type(optimizer).__name__,
        "lr": repr(optimizer.lr),
        "the schedule": np.array2string(optimizer.schedule, threshold=8, floatmode="unique"),
    }
    for place, group in enumerate(optimizer.groups):
        facts[f"group {place}"] = f"{len(group.parameters)} parameters with {dict(group.options)}"
    for number, parameter in enumerate(optimizer.parameters):
        kind = "trained" if parameter.requires_grad else "frozen"
        facts[f"parameter {number}"] = f"{kind}, {parameter.data.dtype} {parameter.data.shape}"
    if net is not None:
        for name, layer in net.named_layers():
            if not any(layer.children()):
                facts[f"layer {name}"] = repr(layer)
    return facts | facts_of_layers(layers)


def facts_of_layers(layers: Iterable[Layer]) -> dict[str, str]:
    """Of the layers with running statistics or random numbers."""
    seeds = ((layer, getattr(layer, "seed", None)) for layer in layers)
    named = (f"{layer!r}" if seed is None else f"{layer!r} of the seed {seed}" for layer, seed in seeds)
    return {f"layer {place} of the batch": text for place, text in enumerate(named)}


def take_from_rank_0(communicator: Communicator, arrays: Iterable[Any]) -> None:
    """Overwrite the arrays, which are of the same shapes on every process."""
    for array in arrays:
        values = np.ascontiguousarray(to_numpy(array))
        communicator.broadcast(values.reshape(-1).view(np.uint8))
        with on_device(array):
            array[...] = get_array_module(array).asarray(values)
