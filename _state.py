"""Checking a state_dict before anything is loaded from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .backend import is_cupy, to_numpy

Shape = tuple[int, ...]


def checked(owner: str, expected: Mapping[str, tuple[Shape, ...]], state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of `state` as NumPy arrays; ValueError listing every missing, unexpected or wrong entry.

    expected: for each name the shapes it may have. state: NumPy or CuPy arrays or PyTorch tensors.
    """
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unexpected" for name in state if name not in expected]
    arrays = {name: _as_numpy(state[name]) for name in expected if name in state}
    for name, array in arrays.items():
        if array.shape not in expected[name]:
            problems.append(f"{name} has shape {array.shape}; expected {' or '.join(map(str, expected[name]))}")
        if not _is_real(array.dtype):
            problems.append(f"{name} has dtype {array.dtype}; expected real numbers")
    if problems:
        raise ValueError(f"{owner}: nothing was loaded, because\n  " + "\n  ".join(problems))
    return arrays


def _as_numpy(value: Any) -> np.ndarray:
    if is_cupy(value) or isinstance(value, np.ndarray):
        return to_numpy(value)
    if hasattr(value, "detach"):  # a PyTorch tensor; float64 holds all its real numbers, bfloat16's too
        value = value.detach().cpu()
        return (value.double() if value.is_floating_point() else value).numpy()
    return np.asarray(value)


def _is_real(dtype: np.dtype) -> bool:
    return dtype.kind in "fiu" or dtype.name == "bfloat16"
