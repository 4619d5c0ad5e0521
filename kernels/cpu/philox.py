"""Random numbers from a counter."""

from __future__ import annotations

import numpy as np

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)


def philox(*counter: np.ndarray | int, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011): four words of 32 bits, last in
    uint64, of a counter of four words, arrays of any one shape or ints, and a key of two."""
    a, b, c, d = np.broadcast_arrays(*(np.asarray(word).astype(np.uint64) for word in counter))
    for number in range(_ROUNDS):
        first, second = (np.uint64(word + number * step & 0xFFFFFFFF) for word, step in zip(key, _STEPS, strict=True))
        of_a, of_c = a * np.uint64(_MULTIPLIERS[0]), c * np.uint64(_MULTIPLIERS[1])
        a, b, c, d = (of_c >> np.uint64(32)) ^ b ^ first, of_c & _LOW, (of_a >> np.uint64(32)) ^ d ^ second, of_a & _LOW
    return np.stack((a, b, c, d), axis=-1)
