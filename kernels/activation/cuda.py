"""Activations on the GPU: one elementwise launch forward, one for the gradient."""

from __future__ import annotations

from typing import Any

from ..cuda.runtime.arrays import contiguous
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.replay import empty
from .elementwise import launch_elements
from .geometry import ActivationGeometry, GeluGeometry, LeakyReluGeometry


@launcher
def relu(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Relu{}", x)


@launcher
def relu_grad(dy: Any, y: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Relu{}", dy, y)


@launcher
def relu6(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Relu6{}", x)


@launcher
def relu6_grad(dy: Any, y: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Relu6{}", dy, y)


@launcher
def leaky_relu(x: Any, geometry: LeakyReluGeometry) -> Any:
    return _forward(_leaky(geometry), x)


@launcher
def leaky_relu_grad(dy: Any, y: Any, geometry: LeakyReluGeometry) -> Any:
    return _gradient(_leaky(geometry), dy, y)


@launcher
def sigmoid(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Sigmoid{}", x)


@launcher
def sigmoid_grad(dy: Any, y: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Sigmoid{}", dy, y)


@launcher
def tanh(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Tanh{}", x)


@launcher
def tanh_grad(dy: Any, y: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Tanh{}", dy, y)


@launcher
def silu(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Silu{}", x)


@launcher
def silu_grad(dy: Any, x: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Silu{}", dy, x)


@launcher
def gelu(x: Any, geometry: GeluGeometry) -> Any:
    return _forward(_gelu(geometry), x)


@launcher
def gelu_grad(dy: Any, x: Any, geometry: GeluGeometry) -> Any:
    return _gradient(_gelu(geometry), dy, x)


@launcher
def hardswish(x: Any, geometry: ActivationGeometry) -> Any:
    return _forward("Hardswish{}", x)


@launcher
def hardswish_grad(dy: Any, x: Any, geometry: ActivationGeometry) -> Any:
    return _gradient("Hardswish{}", dy, x)


def _leaky(g: LeakyReluGeometry) -> str:
    return f"LeakyRelu{{Acc({g.negative_slope!r})}}"


def _gelu(g: GeluGeometry) -> str:
    return "GeluTanh{}" if g.approximate == "tanh" else "Gelu{}"


def _forward(function: str, x: Any) -> Any:
    x, y = contiguous(x), empty(x.shape, x.dtype)
    launch_elements("activation", function, y, x=x, y=y)
    return y


def _gradient(function: str, dy: Any, kept: Any) -> Any:
    dy, kept, dx = contiguous(dy), contiguous(kept), empty(dy.shape, dy.dtype)
    launch_elements("activation_grad", function, dx, dy=dy, kept=kept, dx=dx)
    return dx
