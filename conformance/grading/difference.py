"""How a result differs from the definition's, in a student's words."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

TOLERANCE = 1e-5  # leaves room for float32; where an idea is missing, whole numbers are off


def difference(result: Any, expected: np.ndarray, by_element: bool = False) -> str | None:
    """What is wrong with the result, None where nothing is. by_element: (K,), (K, 1, 1) and the like are the same."""
    try:
        got = np.asarray(result, np.float64)
    except (TypeError, ValueError):
        return f"returns a {type(result).__name__}; expected an array of shape {expected.shape}"
    if by_element and got.size == expected.size:
        got, expected = got.ravel(), expected.ravel()
    if got.shape == expected.shape and _equal(got, expected):
        return None
    if got.shape != expected.shape:
        found = f"returns shape {got.shape}; expected {expected.shape}"
    else:
        at = np.unravel_index(np.argmax(~np.isclose(got, expected, TOLERANCE, TOLERANCE)), got.shape)
        found = f"element {tuple(map(int, at))} is {got[at]:g}; expected {expected[at]:g}"
    relation = _relation(got, expected)
    return found if relation is None else f"{found} ({relation})"


def _equal(got: np.ndarray, expected: np.ndarray) -> bool:
    return got.shape == expected.shape and np.allclose(got, expected, TOLERANCE, TOLERANCE)


def _relation(got: np.ndarray, expected: np.ndarray) -> str | None:
    """What the two have to do with each other, where that is plain."""
    if got.ndim != expected.ndim:
        return None
    if got.ndim == 4 and _equal(got[..., ::-1, ::-1], expected):
        return "the kernel is turned round"
    for order in permutations(range(got.ndim)):
        if _equal(got.transpose(order), expected):
            return f"the numbers are right, with axes swapped: transpose{order} of it"
    if got.shape == expected.shape and expected.any():
        ratio = float((got * expected).sum() / (expected * expected).sum())
        if _equal(got, ratio * expected):
            return f"every element is {ratio:.3g} of what it should be"
    return None
