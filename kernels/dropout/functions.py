"""Dropout, which is its own gradient."""

from __future__ import annotations

import numpy as np

from .. import checks
from ..dispatch import Paths
from ..types import A, Array
from .geometry import WORDS, DropoutGeometry
from .path import DropoutPath

path_of = Paths[DropoutPath]("dropout").of


def dropout(x: A, position: Array, p: float, seed: int) -> A:
    """y = 0 with probability p, else x / (1 - p). Its gradient is the same function of dy.

    x: of any shape, of NumPy or CuPy, float16, bfloat16, float32 or float64; 16-bit is computed in float32 and rounded
    once. position: (3,) of uint32, in x's library: the number of the call, of the shard and of the step. p: from 0 to
    1. seed: an int from 0 to 2**64 - 1. Whether element i of x becomes 0 depends on seed, position and i alone, on
    every path: it does where word i % 4 of Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3,
    2011) of the counter (i // 4, *position) and the key seed is below p * 2**32.
    Returns y, as x. Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> dropout(np.ones(8), np.array([0, 0, 1], np.uint32), p=0.5, seed=7)
    array([2., 0., 0., 0., 2., 2., 0., 2.])
    """
    (x,) = checks.arrays("dropout", x=x)
    x, position = checks.one_library("dropout", x=x, position=position)
    if position.dtype != np.uint32:
        raise checks.type_error("dropout", "position.dtype", position.dtype, "uint32")
    checks.has_shape("dropout", "position", position, (WORDS,), "the call, the shard and the step")
    return path_of(x).dropout(x, position, DropoutGeometry.of("dropout", x.shape, p=p, seed=seed))
