"""Parameters in groups, each with numbers of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..kernels import checks
from ..layers import Layer, Parameter

Parameters = Iterable[Parameter] | Iterable[Mapping[str, Any]]
"""What an optimizer is given: parameters, or groups of them with options that differ from its own."""


@dataclass(frozen=True)
class Group:
    """parameters, what holds for them by option, and whether they have an lr of their own."""

    parameters: tuple[Parameter, ...]
    options: Mapping[str, Any]
    own_lr: bool


def grouped(owner: str, parameters: Parameters, options: Mapping[str, Any]) -> list[Group]:
    """The groups, and for parameters alone the one group. ValueError or TypeError for what is neither."""
    given = list(parameters)
    if not given:
        raise ValueError(f"{owner}: parameters is empty; expected at least one Parameter")
    if not isinstance(given[0], Mapping):
        given = [{"parameters": given}]
    groups = [_group(owner, place, each, options) for place, each in enumerate(given)]
    every = [p for group in groups for p in group.parameters]
    if not every:
        raise ValueError(f"{owner}: parameters is empty; expected at least one Parameter")
    if len({id(p) for p in every}) != len(every):
        raise ValueError(f"{owner}: parameters holds one twice; expected each once")
    return groups


def _group(owner: str, place: int, given: Any, options: Mapping[str, Any]) -> Group:
    if not isinstance(given, Mapping) or "parameters" not in given:
        got = f"a {type(given).__name__}"
        if isinstance(given, Mapping):
            got += f" with {', '.join(map(repr, given))}"
        raise checks.type_error(owner, f"group {place}", got, "a dict with 'parameters'")
    own = {name: value for name, value in given.items() if name != "parameters"}
    unknown = [name for name in own if name not in options]
    if unknown:
        raise checks.value_error(owner, f"an option of group {place}", repr(unknown[0]), f"one of {', '.join(options)}")
    parameters = tuple(given["parameters"])
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise checks.type_error(owner, "a parameter", f"a {type(parameter).__name__}", "a Parameter")
    return Group(parameters, {**options, **own}, "lr" in own)


def decay_groups(net: Layer) -> list[dict[str, Any]]:
    """The parameters of `net` in two groups for an optimizer: weights, and with weight_decay 0 biases and the scales
    and shifts of norms, which are what has at most one axis in a state_dict.

    >>> from backstride.layers import Linear
    >>> from backstride.optim import SGD, decay_groups
    >>> optimizer = SGD(decay_groups(Linear(3, 2)), lr=0.1, weight_decay=1e-4)
    >>> [group.options["weight_decay"] for group in optimizer.groups]
    [0.0001, 0.0]
    """
    weights = [p for p in net.parameters() if len(p.state_shape) > 1]
    others = [p for p in net.parameters() if len(p.state_shape) <= 1]
    return [{"parameters": weights}, {"parameters": others, "weight_decay": 0.0}]
