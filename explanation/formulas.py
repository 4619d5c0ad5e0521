"""What each kind of layer computes, forward and backward, in formulas with the layer's own numbers in them.

X is the input, Y the output, W and b the parameters; dY stands for ∂L/∂Y, the gradient that arrives, and so do dW, dX
and db.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from ..kernels.conv.geometry import ConvGeometry
from ..kernels.pool.geometry import AvgPoolGeometry, PoolGeometry
from ..layers import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Formulas:
    """kind: the short name. forward: of Y. gradients: by what they are of, "input" or a parameter's name. facts:
    further rows of the layer's table, label and text."""

    kind: str
    forward: str
    gradients: dict[str, str]
    facts: list[tuple[str, str]] = field(default_factory=list)


def conv_geometry(layer: Conv2d, x_shape: Shape) -> ConvGeometry:
    return ConvGeometry.of("conv2d", x_shape, layer.weight.data.shape, **layer.options)


def max_pool_geometry(layer: MaxPool2d, x_shape: Shape) -> PoolGeometry:
    return PoolGeometry.of("max_pool2d", x_shape, layer.kernel_size, **layer.options)


def avg_pool_geometry(layer: AvgPool2d, x_shape: Shape) -> AvgPoolGeometry:
    return AvgPoolGeometry.of_average("avg_pool2d", x_shape, layer.kernel_size, **layer.options)


@singledispatch
def formulas(layer: Layer, x_shape: Shape) -> Formulas:
    """The formulas of `layer` for an input of x_shape."""
    gradients = {"input": "as the layer defines it"}
    gradients |= {name: "as the layer defines it" for name, _ in layer.named_parameters()}
    return Formulas(type(layer).__name__.lower(), f"Y = {layer!r}(X)", gradients)


@formulas.register
def _(layer: Conv2d, x_shape: Shape) -> Formulas:
    g = conv_geometry(layer, x_shape)
    row, column = _row_and_column(g)
    group = "" if g.groups == 1 else f", k and c of one of the {g.groups} groups"
    bias = "" if layer.bias is None else "b[k] + "
    return Formulas(
        "conv",
        f"Y[n,k,p,q] = {bias}Σ_c,r,s X[n,c,{row},{column}] · W[k,c,r,s]{group}",
        {
            "weight": f"dW[k,c,r,s] = Σ_n,p,q dY[n,k,p,q] · X[n,c,{row},{column}]{group}",
            "input": f"dX[n,c,h,w] = Σ_k,r,s dY[n,k,p,q] · W[k,c,r,s] where {row} = h, {column} = w{group}",
            "bias": "db[k] = Σ_n,p,q dY[n,k,p,q]",
        },
        _window_facts(g, has_groups=g.groups > 1),
    )


@formulas.register
def _(layer: MaxPool2d, x_shape: Shape) -> Formulas:
    g = max_pool_geometry(layer, x_shape)
    row, column = _row_and_column(g)
    return Formulas(
        "pool",
        f"Y[n,c,p,q] = max_r,s X[n,c,{row},{column}]",
        {"input": "dX[n,c,h,w] = Σ dY[n,c,p,q] over the windows p,q whose maximum stood at h,w"},
        [("kernel", str(layer.kernel_size)), *_window_facts(g)],
    )


@formulas.register
def _(layer: AvgPool2d, x_shape: Shape) -> Formulas:
    g = avg_pool_geometry(layer, x_shape)
    row, column = _row_and_column(g)
    return Formulas(
        "pool",
        f"Y[n,c,p,q] = 1/D[p,q] · Σ_r,s X[n,c,{row},{column}], D the divisor",
        {"input": "dX[n,c,h,w] = Σ dY[n,c,p,q] / D[p,q] over the windows p,q that cover h,w"},
        [("kernel", str(layer.kernel_size)), *_window_facts(g)],
    )


@formulas.register
def _(layer: Linear, x_shape: Shape) -> Formulas:
    bias = "" if layer.bias is None else " + b"
    features, samples = layer.in_features, x_shape[0]
    if layer.batch_axis == 0:
        flat = f", X flattened to {(samples, features)}" if len(x_shape) > 2 else ""
        parts = ("X · Wᵀ", "dYᵀ · X", "dY · W", "db[o] = Σ_n dY[n,o]")
    else:
        flat = f", X flattened to {(features, samples)}" if len(x_shape) > 2 else ""
        parts = ("W · X", "dY · Xᵀ", "Wᵀ · dY", "db[o] = Σ_n dY[o,n]")
    forward, weight, x, b = parts
    gradients = {"weight": f"dW = {weight}{flat}", "input": f"dX = {x}", "bias": b}
    if len(x_shape) > 2:
        gradients["input"] += ", in X's shape again"
    return Formulas("linear", f"Y = {forward}{bias}{flat}", gradients)


@formulas.register
def _(layer: ReLU, x_shape: Shape) -> Formulas:
    return Formulas("relu", "Y = max(X, 0)", {"input": "dX = dY where X > 0, else 0"})


@formulas.register
def _(layer: Flatten, x_shape: Shape) -> Formulas:
    return Formulas("flatten", "Y = X, one row per sample", {"input": "dX = dY, in X's shape again"})


def _row_and_column(g: ConvGeometry | PoolGeometry) -> tuple[str, str]:
    """Where in X the tap r,s of the window p,q stands: "2p+r-1", "q+s"."""
    return _position("p", "r", g, 0), _position("q", "s", g, 1)


def _position(window: str, tap: str, g: ConvGeometry | PoolGeometry, axis: int) -> str:
    stride, dilation, before = g.stride[axis], g.dilation[axis], g.padding[axis][0]
    text = f"{_times(stride)}{window}+{_times(dilation)}{tap}"
    return f"{text}-{before}" if before else text


def _times(factor: int) -> str:
    return "" if factor == 1 else str(factor)


def _window_facts(g: ConvGeometry | PoolGeometry, has_groups: bool = False) -> list[tuple[str, str]]:
    facts: list[tuple[str, Any]] = [("stride", g.stride)]
    if g.padding != ((0, 0), (0, 0)):
        facts.append(("padding", g.padding))
    if g.dilation != (1, 1):
        facts.append(("dilation", g.dilation))
    if has_groups and isinstance(g, ConvGeometry):
        facts.append(("groups", g.groups))
    return [(label, str(value)) for label, value in facts]
