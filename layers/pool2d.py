"""The pooling layers."""

from __future__ import annotations

from typing import Any

from ..kernels import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    checks,
    max_pool2d,
    max_pool2d_grad,
)
from ..kernels.axis import parse_axes
from ..kernels.pool.geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry, check_divisor_override
from ..kernels.types import A, Array, IntOrPair, Padding
from .base import Layer


class MaxPool2d(Layer):
    """The largest element of every window: x (N, C, H, W) -> y (N, C, P, Q); the arguments are max_pool2d's."""

    operation = "max_pool"

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = _checked("MaxPool2d", kernel_size, stride, padding, dilation)
        window = {"stride": stride, "padding": padding, "dilation": dilation}
        self.options = {name: checks.fixed(value) for name, value in window.items()} | {"ceil_mode": bool(ceil_mode)}

    def forward(self, x: A) -> A:
        y, taps = max_pool2d(x, self.kernel_size, **self.options)
        self._keep((taps, x.shape))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        taps, x_shape = self._kept()
        return max_pool2d_grad(dy, taps, x_shape, self.kernel_size, **self.options) if needs_input_grad else None

    def geometry(self, x_shape: tuple[int, ...]) -> PoolGeometry:
        return PoolGeometry.of("max_pool2d", x_shape, self.kernel_size, **self.options)

    def __repr__(self) -> str:
        return _describe("MaxPool2d", self.kernel_size, self.options)


class AvgPool2d(Layer):
    """The average of every window: x (N, C, H, W) -> y (N, C, P, Q); the arguments are avg_pool2d's."""

    operation = "avg_pool"

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = _checked("AvgPool2d", kernel_size, stride, padding, 1)
        check_divisor_override("AvgPool2d", divisor_override)
        self.options = {
            "stride": checks.fixed(stride),
            "padding": checks.fixed(padding),
            "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
            "divisor_override": checks.fixed(divisor_override),
        }

    def forward(self, x: A) -> A:
        y = avg_pool2d(x, self.kernel_size, **self.options)
        self._keep(x.shape)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        return avg_pool2d_grad(dy, x_shape, self.kernel_size, **self.options) if needs_input_grad else None

    def geometry(self, x_shape: tuple[int, ...]) -> AvgPoolGeometry:
        return AvgPoolGeometry.of_average("avg_pool2d", x_shape, self.kernel_size, **self.options)

    def __repr__(self) -> str:
        return _describe("AvgPool2d", self.kernel_size, self.options)


class AdaptiveAvgPool2d(Layer):
    """The average of each of output_size windows: x (N, C, H, W) -> y (N, C, P, Q); output_size is an int or (P, Q)."""

    operation = "adaptive_avg_pool"

    def __init__(self, output_size: IntOrPair) -> None:
        self.output_size = checks.per_axis("AdaptiveAvgPool2d", "output_size", output_size, 2, 1)

    def forward(self, x: A) -> A:
        y = adaptive_avg_pool2d(x, self.output_size)
        self._keep(x.shape)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        return adaptive_avg_pool2d_grad(dy, x_shape) if needs_input_grad else None

    def geometry(self, x_shape: tuple[int, ...]) -> AdaptivePoolGeometry:
        return AdaptivePoolGeometry.of("adaptive_avg_pool2d", x_shape, output_size=self.output_size)

    def __repr__(self) -> str:
        return f"AdaptiveAvgPool2d({self.output_size})"


def _checked(
    layer: str, kernel_size: IntOrPair, stride: IntOrPair | None, padding: Padding, dilation: IntOrPair
) -> tuple[int, ...]:
    """kernel_size as a pair; every option is checked, on the smallest input the window fits."""
    kernel = checks.per_axis(layer, "kernel_size", kernel_size, 2, 1)
    axes = parse_axes(layer, kernel, kernel, 1 if stride is None else stride, padding, dilation)
    smallest = (0, 0, *(axis.reach + 1 for axis in axes))
    PoolGeometry.of(layer, smallest, kernel, stride=stride, padding=padding, dilation=dilation)
    return kernel


def _describe(layer: str, kernel: tuple[int, ...], options: dict[str, Any]) -> str:
    defaults = {"padding": 0, "dilation": 1, "ceil_mode": False, "count_include_pad": True}
    given = "".join(f", {k}={v!r}" for k, v in options.items() if v != defaults.get(k))
    return f"{layer}({kernel}{given})"
