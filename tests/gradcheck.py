"""Directional gradient check: does a gradient predict how a scalar changes along a random direction?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def assert_gradient(
    f: Callable[[np.ndarray], np.ndarray],
    at: np.ndarray,
    dy: np.ndarray,
    gradient: np.ndarray,
    rng: np.random.Generator,
    step: float = 0.25,
) -> None:
    """`gradient` is the gradient at `at` of sum(dy * f(x)), for an f that is affine within `step` of `at`; all float64.

    Every operation here is affine in each of its arguments (max pooling as long as no maximum changes hands), so the
    central difference has no truncation error, the step can be large, and what is left is rounding: 1e-12, some
    thousands of float64's eps, of the magnitudes that went into the difference.
    """
    assert gradient.shape == at.shape
    direction = rng.uniform(-1, 1, at.shape)
    above, below = f(at + step * direction), f(at - step * direction)
    measured = float((dy * (above - below)).sum()) / (2 * step)
    predicted = float((gradient * direction).sum())
    magnitude = float((np.abs(dy) * (np.abs(above) + np.abs(below))).sum()) / (2 * step)
    allowed = 1e-12 * (magnitude + float(np.abs(gradient * direction).sum()))
    assert abs(measured - predicted) <= allowed, f"finite difference {measured!r}, gradient {predicted!r}, {allowed=}"
