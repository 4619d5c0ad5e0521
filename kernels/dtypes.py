"""The dtypes that kernels take, and what follows from one: in which the sums are kept, and its rounding."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .._extras import ml_dtypes

NAMES = ("float16", "bfloat16", "float32", "float64")


def named(name: str) -> np.dtype:
    """The dtype of this name; bfloat16 is ml_dtypes' (MissingExtraError)."""
    return np.dtype(ml_dtypes().bfloat16 if name == "bfloat16" else name)


@cache
def is_float(dtype: np.dtype) -> bool:
    """Whether kernels take this dtype: one of NAMES, in native byte order."""
    return dtype.name in NAMES and dtype.isnative


def accumulation_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in which sums over elements of `dtype` are kept: 16-bit accumulates in float32."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def finfo(dtype: np.dtype) -> Any:
    """NumPy's finfo of the dtype; bfloat16's is of the same make."""
    return ml_dtypes().finfo(dtype) if dtype.name == "bfloat16" else np.finfo(dtype)
