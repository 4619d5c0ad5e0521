"""A step of an optimizer on one parameter, as an operation: ours, a textbook's and PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.operation import Case, Family, Input, Operation

Array = np.ndarray
LEARNING_RATE, MOMENTUM, EPS = 0.01, 0.9, 1e-8


@dataclass(frozen=True)
class Geometry:
    """The parameter's elements."""

    size: int


def _operation(name: str, title: str) -> Operation:
    return Operation(
        name,
        title,
        Family(
            name,
            room="optim",
            options={},
            geometry=lambda operation, x_shape, w_shape: Geometry(math.prod(x_shape)),
            case=lambda g: Case("", (1, g.size)),
            cases=(),
        ),
        inputs=tuple(Input(name, lambda g: (g.size,)) for name in ("w", "dw")),
        outputs=(),
        flops=lambda g: g.size,
    )


SGD, ADAM = _operation("sgd_step", "SGD step"), _operation("adam_step", "Adam step")
"""With momentum; without outputs, as the training step."""


def _prepare(optimizer: Callable[[Any], Any], w: Any, dw: Any) -> Callable[[], Any]:
    from ..layers import Parameter

    parameter = Parameter(w.copy())
    parameter.grad = dw
    step = optimizer([parameter]).step

    def call() -> Any:
        step()
        return parameter.data

    return call


def sgd_step(w: Any, dw: Any) -> Callable[[], Any]:
    """A call that takes one step and returns the parameter."""
    from ..optim import SGD

    return _prepare(lambda held: SGD(held, lr=LEARNING_RATE, momentum=MOMENTUM), w, dw)


def adam_step(w: Any, dw: Any) -> Callable[[], Any]:
    from ..optim import Adam

    return _prepare(lambda held: Adam(held, lr=LEARNING_RATE, eps=EPS), w, dw)


def _first_sgd_step(w: Array, dw: Array, g: Geometry) -> Array:
    return w - LEARNING_RATE * dw


def _first_adam_step(w: Array, dw: Array, g: Geometry) -> Array:
    """Both running means are those of the one gradient."""
    return w - LEARNING_RATE * dw / (np.sqrt(dw * dw) + EPS)


def _by_torch(optimizer: str, options: dict[str, float]) -> Callable[..., Callable[[], Any]]:
    def prepare(w: Any, dw: Any, g: Geometry) -> Callable[[], Any]:
        import torch

        parameter = torch.nn.Parameter(w.clone())
        parameter.grad = dw
        step = getattr(torch.optim, optimizer)([parameter], lr=LEARNING_RATE, **options).step

        def call() -> Any:
            step()
            return parameter.detach()

        return call

    return prepare


TEXTBOOK: dict[str, Callable[..., Any]] = {"sgd_step": _first_sgd_step, "adam_step": _first_adam_step}
TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "sgd_step": _by_torch("SGD", {"momentum": MOMENTUM}),
    "adam_step": _by_torch("Adam", {"eps": EPS}),
}
CUBLAS: dict[str, Callable[..., Any]] = {}
