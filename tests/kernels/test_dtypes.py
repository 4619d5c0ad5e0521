"""The dtypes that kernels take, by name, and what follows from one."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import DTYPES, dtype_of

from backstride.kernels import dtypes


@pytest.mark.parametrize("name", DTYPES)
def test_named(name):
    dtype = dtypes.named(name)
    assert dtype == dtype_of(name)
    assert dtypes.is_float(dtype)
    assert not dtypes.is_float(dtype.newbyteorder())


def test_every_name_is_listed():
    assert set(dtypes.NAMES) == set(DTYPES)
    assert not any(map(dtypes.is_float, map(np.dtype, ("int32", "complex64", "longdouble", "bool"))))


@pytest.mark.parametrize(
    ("name", "sums", "bits"),
    [("float16", "float32", 10), ("bfloat16", "float32", 7), ("float32", "float32", 23), ("float64", "float64", 52)],
)
def test_sums_and_rounding(name, sums, bits):
    dtype = dtype_of(name)
    assert dtypes.accumulation_dtype(dtype) == np.dtype(sums)
    assert float(dtypes.finfo(dtype).eps) == 2.0**-bits
