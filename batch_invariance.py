"""Whether an image's forward and dx bits may depend on the batch it comes in.

The environment variable BACKSTRIDE_BATCH_INVARIANT: 1 asks that they do not. Kernels are then chosen by the shape of
one image, no product is split along its depth, and NumPy takes some of its images one by one: slower for some shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from ._switch import Switch, name_of

VARIABLE = "BACKSTRIDE_BATCH_INVARIANT"

_switch = Switch("batch_invariant", ("0", "1"), VARIABLE)


def set_batch_invariant(on: bool) -> None:
    """Let an image's forward and input-gradient bits be the same in every batch, or not, in the whole process.

    Weight and bias gradients, and the statistics of batch normalisation, are sums over the batch: they depend on it.
    """
    _switch.set(name_of("batch_invariant", on))


def use_batch_invariant(on: bool = True) -> AbstractContextManager[None]:
    """As set_batch_invariant, inside a with block, for this thread or async task only.

    >>> import numpy as np
    >>> import backstride as bs
    >>> x = np.random.default_rng(0).standard_normal((5, 300), np.float32)
    >>> w = np.random.default_rng(1).standard_normal((40, 300), np.float32)
    >>> with bs.use_batch_invariant():
    ...     bool((bs.kernels.linear(x, w)[2:3] == bs.kernels.linear(x[2:3], w)).all())
    True
    """
    return _switch.use(name_of("batch_invariant", on))


def get_batch_invariant() -> bool:
    """Whether they are; BACKSTRIDE_BATCH_INVARIANT is read at the first call, False where it is unset."""
    return _switch.get() == "1"


def batches(n: int) -> Iterator[slice]:
    """How n images are taken where the bits of some depend on the others': all at once, or one by one."""
    step = 1 if get_batch_invariant() else max(1, n)
    return (slice(i, i + step) for i in range(0, max(1, n), step))
