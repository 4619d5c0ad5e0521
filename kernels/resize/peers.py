"""Resizing by others: as a textbook writes it in NumPy, by matrices, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .geometry import ResizeGeometry

Array = np.ndarray


def upsample(x: Array, g: ResizeGeometry) -> Array:
    rows, columns = _matrices(g, x.dtype)
    return rows @ x @ columns.T


def upsample_grad(dy: Array, g: ResizeGeometry) -> Array:
    rows, columns = _matrices(g, dy.dtype)
    return rows.T @ dy @ columns


def _matrices(g: ResizeGeometry, dtype: np.dtype) -> list[Array]:
    """For each axis the shares of the image's positions in those of the result."""
    matrices = []
    for extent, size in zip(g.extents, g.size, strict=True):
        p, i = np.arange(size)[:, np.newaxis], np.arange(extent)
        if g.mode == "nearest":
            shares = p * extent // size == i
        else:
            at = p * (extent - 1) / max(1, size - 1) if g.align_corners else (p + 0.5) * extent / size - 0.5
            shares = np.maximum(0, 1 - np.abs(np.clip(at, 0, extent - 1) - i))
        matrices.append(shares.astype(dtype))
    return matrices


TEXTBOOK: dict[str, Callable[..., Any]] = {"upsample": upsample, "upsample_grad": upsample_grad}

CUBLAS: dict[str, Callable[..., Any]] = {}


def _torch_upsample(x: Any, g: ResizeGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    corners = g.align_corners if g.mode == "bilinear" else None
    return lambda: F.interpolate(x, g.size, mode=g.mode, align_corners=corners)


def _torch_upsample_grad(dy: Any, g: ResizeGeometry) -> Callable[[], Any]:
    from torch.ops import aten

    if g.mode == "nearest":
        return lambda: aten.upsample_nearest2d_backward(dy, list(g.size), list(g.x_shape))
    return lambda: aten.upsample_bilinear2d_backward(dy, list(g.size), list(g.x_shape), g.align_corners)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "upsample": _torch_upsample,
    "upsample_grad": _torch_upsample_grad,
}
