"""Resizing as a layer."""

from __future__ import annotations

from typing import Any

from ..kernels import checks, upsample, upsample_grad
from ..kernels.resize.geometry import ResizeGeometry, check_mode
from ..kernels.types import A, Array, IntOrPair
from .base import Layer


class Upsample(Layer):
    """Images resized: x (N, C, H, W) -> y (N, C, P, Q).

    scale_factor: an int >= 1 or an (h, w) pair of them, how many times as many pixels; or size: an int or (P, Q). mode:
    'nearest' or 'bilinear'. align_corners: whether bilinear corners fall on corners. The formulas are upsample's.
    """

    operation = "upsample"

    def __init__(
        self,
        scale_factor: IntOrPair | None = None,
        size: IntOrPair | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:
        if (scale_factor is None) == (size is None):
            raise checks.value_error("Upsample", "size", size, "either a scale_factor or a size")
        pair = {"scale_factor": scale_factor, "size": size}
        found = {k: v if v is None else checks.per_axis("Upsample", k, v, 2, 1) for k, v in pair.items()}
        self.scale_factor, self.size = found["scale_factor"], found["size"]
        self.mode, self.align_corners = check_mode("Upsample", mode, align_corners)

    def forward(self, x: A) -> A:
        (x,) = checks.arrays("upsample", x=x)
        y = upsample(x, self._size(x.shape), self.mode, self.align_corners)
        self._keep(x.shape)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        return upsample_grad(dy, x_shape, self.mode, self.align_corners) if needs_input_grad else None

    def _size(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """What an image of x's shape is resized to; of another number of axes the function says that it is wrong."""
        if self.size is not None:
            return self.size
        extents = x_shape[2:] if len(x_shape) == 4 else (1, 1)
        return tuple(max(1, extent * factor) for extent, factor in zip(extents, self.scale_factor or (), strict=True))

    def geometry(self, x_shape: tuple[int, ...]) -> ResizeGeometry:
        options: dict[str, Any] = {"size": self._size(x_shape), "mode": self.mode, "align_corners": self.align_corners}
        return ResizeGeometry.of(self.operation, x_shape, **options)

    def __repr__(self) -> str:
        name = "size" if self.size is not None else "scale_factor"
        corners = ", align_corners=True" if self.align_corners else ""
        return f"Upsample({name}={getattr(self, name)}, mode={self.mode!r}{corners})"
