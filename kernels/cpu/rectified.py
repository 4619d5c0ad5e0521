"""The ReLU that an operation ends with, or is."""

from __future__ import annotations

import numpy as np

from ...backend import quietly


@quietly
def rectified(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0), NaN where x is. Of -0 and 0 NumPy takes the second, but of halves the first: it is always 0."""
    a, b = (0, x) if x.dtype == np.float16 else (x, 0)
    return np.asarray(np.maximum(a, b, out=out, order="C"))


def ended(y: np.ndarray, activation: str | None) -> np.ndarray:
    """y with this activation, in its place."""
    return y if activation is None else rectified(y, out=y)
