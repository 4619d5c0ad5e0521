"""Dropout by others: none draws this mask, so that only the textbook's form can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .geometry import DropoutGeometry


def dropout(x: np.ndarray, position: np.ndarray, g: DropoutGeometry) -> np.ndarray:
    """Philox4x32-10 in Python's integers, four elements at a time."""
    kept = [word >= g.p * 2**32 for block in range(-(-g.size // 4)) for word in _philox([block, *position], g.seed)]
    return np.where(np.array(kept[: g.size], bool).reshape(g.x_shape), x * x.dtype.type(g.scale), 0)


def _philox(counter: list[int], seed: int) -> list[int]:
    a, b, c, d = map(int, counter)
    keys = [seed % 2**32, seed >> 32]
    for _ in range(10):
        of_a, of_c = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = of_c >> 32 ^ b ^ keys[0], of_c % 2**32, of_a >> 32 ^ d ^ keys[1], of_a % 2**32
        keys = [(keys[0] + 0x9E3779B9) % 2**32, (keys[1] + 0xBB67AE85) % 2**32]
    return [a, b, c, d]


TEXTBOOK: dict[str, Callable[..., Any]] = {"dropout": dropout}

CUBLAS: dict[str, Callable[..., Any]] = {}

TORCH: dict[str, Callable[..., Callable[[], Any]]] = {}
