"""Where in an image each element of the resized one lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..axis import check_extents
from ..kept import hashed_once, kept

MODES = ("nearest", "bilinear")


class Sources(NamedTuple):
    """For each position of the result the position before it, the one after it, and the second's share."""

    before: np.ndarray
    after: np.ndarray
    share: np.ndarray


@hashed_once
@dataclass(frozen=True)
class Resampling:
    """One axis: position p of `size` lies at max(0, step p + offset) / unit of `extent`, exactly; where it is not
    `linear`, at the whole position before."""

    extent: int
    size: int
    step: int
    offset: int
    unit: int
    linear: bool

    @classmethod
    def of(cls, extent: int, size: int, mode: str, align_corners: bool) -> Resampling:
        """The formulas of PyTorch (aten/src/ATen/native/UpSample.h), in whole numbers."""
        if mode == "nearest":
            return cls(extent, size, extent, 0, size, False)
        if align_corners:
            return cls(extent, size, extent - 1, 0, max(1, size - 1), True)
        return cls(extent, size, 2 * extent, extent - size, 2 * size, True)

    def sources(self) -> Sources:
        numerators = np.maximum(0, self.step * np.arange(self.size) + self.offset)
        before, rest = np.divmod(numerators, self.unit)
        share = rest / self.unit if self.linear else np.zeros(self.size)
        return Sources(before, np.minimum(before + 1, self.extent - 1), share)

    @property
    def most_covering(self) -> int:
        """At least as many positions of the result as one of the image has a share in."""
        if self.step == 0:
            return self.size
        return min(self.size, 2 * -(-self.unit // self.step) - -abs(self.offset) // self.step + 2)


@hashed_once
@dataclass(frozen=True)
class ResizeGeometry:
    """Images (N, C, H, W) and the resampling of rows and columns."""

    N: int
    C: int
    axes: tuple[Resampling, ...]
    mode: str
    align_corners: bool

    @classmethod
    @kept
    def of(
        cls,
        operation: str,
        x_shape: Any,
        *,
        size: Any,
        mode: Any = "nearest",
        align_corners: Any = False,
        name: str = "x.shape",
    ) -> ResizeGeometry:
        """ValueError where a shape or an option is wrong."""
        n, c, *extents = checks.shape(operation, name, x_shape, ("N", "C", "H", "W"))
        check_extents(operation, name, extents)
        sizes = checks.per_axis(operation, "size", size, 2, 1)
        mode, align_corners = check_mode(operation, mode, align_corners)
        axes = (Resampling.of(extent, each, mode, align_corners) for extent, each in zip(extents, sizes, strict=True))
        return cls(n, c, tuple(axes), mode, align_corners)

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(axis.extent for axis in self.axes)

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return self.N, self.C, *self.extents

    @property
    def y_shape(self) -> tuple[int, ...]:
        return self.N, self.C, *self.size


def check_mode(operation: str, mode: Any, align_corners: Any) -> tuple[str, bool]:
    if mode not in MODES:
        raise checks.value_error(operation, "mode", repr(mode), "'nearest' or 'bilinear'")
    if align_corners and mode == "nearest":
        raise checks.value_error(operation, "align_corners", align_corners, "False for the mode 'nearest'")
    return str(mode), bool(align_corners)
