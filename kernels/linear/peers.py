"""A fully connected layer by others: as a textbook writes it in NumPy, in PyTorch, and by cuBLAS through CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..peers import activated, torch_activated
from .geometry import LinearGeometry


def linear(x: Any, w: Any, b: Any, g: LinearGeometry) -> Any:
    return activated(x @ w.T + b if g.batch_axis == 0 else w @ x + b.reshape(-1, 1), g)


def linear_input_grad(dy: Any, w: Any, g: LinearGeometry) -> Any:
    return dy @ w if g.batch_axis == 0 else w.T @ dy


def linear_weight_grad(dy: Any, x: Any, g: LinearGeometry) -> Any:
    return dy.T @ x if g.batch_axis == 0 else dy @ x.T


def linear_bias_grad(dy: Any, g: LinearGeometry) -> Any:
    return dy.sum(0) if g.batch_axis == 0 else dy.sum(1).reshape(-1, 1)


TEXTBOOK: dict[str, Callable[..., Any]] = {
    "linear": linear,
    "linear_input_grad": linear_input_grad,
    "linear_weight_grad": linear_weight_grad,
    "linear_bias_grad": linear_bias_grad,
}

CUBLAS = {name: product for name, product in TEXTBOOK.items() if name != "linear_bias_grad"}


def _torch_linear(x: Any, w: Any, b: Any, g: LinearGeometry) -> Callable[[], Any]:
    from torch.nn import functional as F

    if g.batch_axis == 0:
        return lambda: torch_activated(F.linear(x, w, b), g)
    return lambda: torch_activated(w @ x + b.reshape(-1, 1), g)


def _as_written(textbook: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """PyTorch's form where it is the textbook's, on tensors."""
    return lambda *arguments: lambda: textbook(*arguments)


TORCH: dict[str, Callable[..., Callable[[], Any]]] = {
    "linear": _torch_linear,
    "linear_input_grad": _as_written(linear_input_grad),
    "linear_weight_grad": _as_written(linear_weight_grad),
    "linear_bias_grad": _as_written(linear_bias_grad),
}
