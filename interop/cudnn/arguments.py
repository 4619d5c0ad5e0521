"""Checks of arguments that several of the functions take."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ...kernels import checks
from ...kernels.checks import value_error
from ...precision import use_float32_precision
from .library import CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC


def channels_last(function: str, **formats: int) -> list[bool]:
    """Of each format whether it is CUDNN_TENSOR_NHWC; ValueError for what is no format."""
    for argument, value in formats.items():
        if value not in (CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC):
            known = f"CUDNN_TENSOR_NCHW ({CUDNN_TENSOR_NCHW}) or CUDNN_TENSOR_NHWC ({CUDNN_TENSOR_NHWC})"
            raise value_error(function, argument, value, known)
    return [value == CUDNN_TENSOR_NHWC for value in formats.values()]


def rank(function: str, argument: str, array: Any) -> int:
    """How many axes an array has beside N and C: 1 to 3, or ValueError."""
    if array.ndim not in (3, 4, 5):
        raise value_error(function, f"{argument}.shape", array.shape, "(N, C, ...) with one to three axes after C")
    return int(array.ndim) - 2


def padding(function: str, pad: Any, axes: int) -> tuple[int, ...]:
    """As many zeros before as after: an int for each axis."""
    return checks.per_axis(function, "pad", pad, axes, 0)


def write(array: Any, values: Any) -> None:
    """Into an array of as many elements."""
    array[...] = values.reshape(array.shape)


def precision(function: str, tensor_core: str) -> AbstractContextManager[None]:
    """In force while the function computes: 'never' leaves tensor cores out of float32, as "ieee" does."""
    if tensor_core not in ("always", "auto", "never"):
        raise value_error(function, "tensor_core", repr(tensor_core), "'always', 'auto' or 'never'")
    return use_float32_precision("ieee") if tensor_core == "never" else nullcontext()
