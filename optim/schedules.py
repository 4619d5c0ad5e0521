"""Learning rates over time: arrays of what lr is multiplied by at each step, for `schedule` of an optimizer.

The last number holds for all further steps. An array of your own serves as well.
"""

from __future__ import annotations

import numpy as np

from ..kernels import checks


def constant(steps: int = 1, *, warmup: int = 0) -> np.ndarray:
    """1 all the time, after `warmup` steps of linear growth."""
    return _warmed(np.ones(_natural("constant", "steps", steps)), warmup, "constant")


def step(steps: int, every: int, factor: float = 0.1, *, warmup: int = 0) -> np.ndarray:
    """1, and `factor` times as much after each `every` steps, as torch.optim.lr_scheduler.StepLR."""
    every = checks.integer("step", "every", every, 1)
    return _warmed(factor ** (np.arange(_natural("step", "steps", steps)) // every), warmup, "step")


def cosine(steps: int, *, warmup: int = 0, end: float = 0.0) -> np.ndarray:
    """Half a cosine from 1 down to `end` (Loshchilov and Hutter, 2017), after `warmup` of the steps of linear growth.

    Without a warm-up as torch.optim.lr_scheduler.CosineAnnealingLR with T_max = steps.

    >>> from backstride.optim import schedules
    >>> schedules.cosine(6, warmup=2).round(3).tolist()
    [0.333, 0.667, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    steps = _natural("cosine", "steps", steps)
    if not 0 <= warmup < steps:
        raise checks.value_error("cosine", "warmup", warmup, f"0 to {steps - 1}, less than steps")
    return _warmed(_half_cosine(1.0, end, steps - warmup), warmup, "cosine")


def one_cycle(steps: int, *, rise: float = 0.3, start: float = 1 / 25, end: float = 4e-6) -> np.ndarray:
    """Half a cosine from `start` up to 1 over the share `rise` of the steps, and one down to `end` over the others
    (Smith and Topin, 2018), as torch.optim.lr_scheduler.OneCycleLR with cycle_momentum=False."""
    steps = checks.integer("one_cycle", "steps", steps, 2)
    if not 0 < rise < 1:
        raise checks.value_error("one_cycle", "rise", rise, "a number between 0 and 1")
    top = rise * steps - 1
    if top <= 0:
        raise checks.value_error("one_cycle", "rise", rise, f"more than {1 / steps}, a step of {steps}")
    at = np.arange(steps)
    up, down = np.minimum(at / top, 1), np.maximum((at - top) / (steps - 1 - top), 0)
    rising, falling = _between(start, 1.0, up), _between(1.0, end, down)
    return np.where(at <= top, rising, falling)


def _half_cosine(start: float, end: float, steps: int) -> np.ndarray:
    """From start at 0 to end at `steps`: one number more."""
    return _between(start, end, np.arange(steps + 1) / steps)


def _between(start: float, end: float, share: np.ndarray) -> np.ndarray:
    found: np.ndarray = end + (start - end) * (1 + np.cos(np.pi * share)) / 2
    return found


def _warmed(factors: np.ndarray, warmup: int, owner: str) -> np.ndarray:
    """`warmup` steps that grow linearly to the first of the factors, and the factors."""
    warmup = checks.integer(owner, "warmup", warmup, 0)
    return np.concatenate([np.arange(1, warmup + 1) / (warmup + 1) * factors[0], factors])


def _natural(owner: str, argument: str, value: int) -> int:
    return checks.integer(owner, argument, value, 1)
