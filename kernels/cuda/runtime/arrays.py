"""What the kernels ask of the arrays they are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....backend import import_cupy

ALIGNMENT = 16
"""Bytes of the widest load; fresh CuPy arrays are aligned to more than this."""

MAX_INDEX = 2**31 - 1
"""Kernels compute offsets in 32 bits; a launch is given no more elements of any array than these can reach."""


def contiguous(x: Any) -> Any:
    """x, or a copy where x is not C-contiguous or (a slice of another array) starts at an unaligned address."""
    if not x.flags.c_contiguous:
        x = import_cupy().ascontiguousarray(x)
    return x if x.data.ptr % ALIGNMENT == 0 else x.copy()


def chunks(planes: int, plane_elements: int) -> Iterator[tuple[int, int]]:
    """(first, count) of runs of whole planes small enough for 32-bit offsets; nothing for no planes."""
    most = MAX_INDEX // plane_elements
    for first in range(0, planes, most):
        yield first, min(most, planes - first)


def address(array: Any, plane: int, plane_elements: int) -> int:
    """The device address at which a plane of a C-contiguous array starts."""
    return array.data.ptr + plane * plane_elements * array.itemsize
