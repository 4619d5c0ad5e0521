"""Softmax and its gradients on the GPU: one launch each, a few threads, a warp or a block to a row."""

from __future__ import annotations

from typing import Any

from ..cuda.runtime.arrays import contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.replay import empty
from .geometry import SoftmaxGeometry
from .rows import launch_rows


@launcher
def softmax(x: Any, geometry: SoftmaxGeometry) -> Any:
    return _forward(x, geometry, log=False)


@launcher
def softmax_grad(dy: Any, y: Any, geometry: SoftmaxGeometry) -> Any:
    return _gradient(dy, y, geometry, log=False)


@launcher
def log_softmax(x: Any, geometry: SoftmaxGeometry) -> Any:
    return _forward(x, geometry, log=True)


@launcher
def log_softmax_grad(dy: Any, y: Any, geometry: SoftmaxGeometry) -> Any:
    return _gradient(dy, y, geometry, log=True)


def _forward(x: Any, g: SoftmaxGeometry, log: bool) -> Any:
    x, y = contiguous(x), empty(g.x_shape, x.dtype)
    if y.size:
        launch_rows("softmax", g, x.dtype, {"LOG": int(log)}, x=x, y=y)
    return y


def _gradient(dy: Any, y: Any, g: SoftmaxGeometry, log: bool) -> Any:
    dy, y, dx = contiguous(dy), contiguous(y), empty(g.x_shape, dy.dtype)
    if dx.size:
        launch_rows("softmax_grad", g, dy.dtype, {"LOG": int(log)}, dy=dy, y=y, dx=dx)
    return dx
