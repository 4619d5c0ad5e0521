"""The shape and the options of dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..kept import hashed_once

WORDS = 3
"""Of a position: which call it is in a shard of a step, which shard, and which step."""


@hashed_once
@dataclass(frozen=True)
class DropoutGeometry:
    """x_shape: any. p: the probability of 0. seed: the generator's key, below 2**64."""

    x_shape: tuple[int, ...]
    p: float
    seed: int

    @classmethod
    def of(cls, operation: str, x_shape: tuple[int, ...], *, p: Any, seed: Any) -> DropoutGeometry:
        """ValueError where an option is wrong, or x has more elements than the generator counts."""
        if math.prod(x_shape) > 2**34:
            raise checks.value_error(operation, "x.shape", x_shape, "at most 2**34 elements")
        seed = checks.integer(operation, "seed", seed, 0)
        if seed >= 2**64:
            raise checks.value_error(operation, "seed", seed, "an int below 2**64")
        return cls(x_shape, check_probability(operation, p), seed)

    @property
    def size(self) -> int:
        return math.prod(self.x_shape)

    @property
    def threshold(self) -> int:
        """Random numbers of 32 bits below it stand for 0."""
        return round(self.p * 2**32)

    @property
    def scale(self) -> float:
        """What is kept is multiplied by it, so that the mean stays."""
        return 1 / (1 - self.p) if self.p < 1 else 0.0


def check_probability(operation: str, p: Any) -> float:
    number = isinstance(p, (int, float, np.floating)) and not isinstance(p, bool)
    if not number or not 0 <= p <= 1:
        raise checks.value_error(operation, "p", repr(p), "a number from 0 to 1")
    return float(p)
