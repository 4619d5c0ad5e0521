"""The update rules on NumPy arrays. Each has a .cu file of its name with the same operations in the same order, so that
both give the same bits: what depends on the step is computed in float64, the rest in the arrays' dtype."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Options = Mapping[str, float]
"""The numbers of a parameter's group, by the names in `struct Options` of the .cu file."""


@dataclass(frozen=True)
class Rule:
    """source: its .cu file. slots(options): the names of the arrays that it keeps for a parameter. factors(options, lr,
    count): what step number `count` of a parameter computes with. update(w, g, state, factors): changes `w`, `state`
    and `g`, which is the gradient, in place."""

    source: str
    slots: Callable[[Options], tuple[str, ...]]
    factors: Callable[[Options, float, int], Mapping[str, float]]
    update: Callable[[Any, Any, Sequence[Any], Mapping[str, float]], None]


def power(base: float, exponent: int) -> float:
    """base**exponent by squaring: the same bits wherever float64 is multiplied, which no library's pow promises."""
    result = 1.0
    while exponent > 0:
        if exponent % 2:
            result *= base
        base *= base
        exponent //= 2
    return result


def _sgd_factors(options: Options, lr: float, count: int) -> Mapping[str, float]:
    return {**options, "lr": lr, "fresh": 1 - options["dampening"] if count > 1 else 1.0}


def _sgd(w: Any, g: Any, state: Sequence[Any], f: Mapping[str, float]) -> None:
    if f["weight_decay"]:
        g += f["weight_decay"] * w
    if not f["momentum"]:
        change = g
    else:
        (velocity,) = state
        velocity *= f["momentum"]
        velocity += f["fresh"] * g
        change = velocity
        if f["nesterov"]:
            g += f["momentum"] * velocity
            change = g
    w -= f["lr"] * change


SGD = Rule("sgd.cu", lambda options: ("momentum",) if options["momentum"] else (), _sgd_factors, _sgd)


def _adam_factors(options: Options, lr: float, count: int) -> Mapping[str, float]:
    return {
        **options,
        "fresh1": 1 - options["beta1"],
        "fresh2": 1 - options["beta2"],
        "rate": lr / (1 - power(options["beta1"], count)),
        "unbias": 1 / math.sqrt(1 - power(options["beta2"], count)),
        "decay": lr * options["decoupled_decay"],
    }


def _adam(w: Any, g: Any, state: Sequence[Any], f: Mapping[str, float]) -> None:
    mean, square = state
    if f["weight_decay"]:
        g += f["weight_decay"] * w
    mean *= f["beta1"]
    mean += f["fresh1"] * g
    square *= f["beta2"]
    square += f["fresh2"] * g * g
    root = np.sqrt(square)
    root *= f["unbias"]
    root += f["eps"]
    change = f["rate"] * mean
    change /= root
    if f["decay"]:
        # PyTorch decays w first and then subtracts Adam's step; the sum of both is the same
        change += f["decay"] * w
    w -= change


ADAM = Rule("adam.cu", lambda _: ("mean", "square"), _adam_factors, _adam)
