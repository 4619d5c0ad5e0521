"""The pooling layers."""

from __future__ import annotations

from typing import Any

from ..kernels import checks
from ..kernels.axis import parse_axes
from ..kernels.layout import NCHW, is_channels_last
from ..kernels.pool import checked
from ..kernels.pool.geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry, check_divisor_override
from ..kernels.types import A, Array, Padding, PerAxis
from .base import Layer


class _MaxPool(Layer):
    """Along `rank` axes."""

    operation = "max_pool"
    rank: int

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        ceil_mode: bool = False,
        *,
        layout: str = NCHW,
    ) -> None:
        self.kernel_size = _checked(self, kernel_size, stride, padding, dilation, layout)
        window = {"stride": stride, "padding": padding, "dilation": dilation}
        self.options = {name: checks.fixed(value) for name, value in window.items()}
        self.options |= {"ceil_mode": bool(ceil_mode), "layout": layout}

    def forward(self, x: A) -> A:
        y, taps = checked.max_pool(self.rank, x, self.kernel_size, **self.options)
        self._keep((taps, x.shape))
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        taps, x_shape = self._kept()
        if not needs_input_grad:
            return None
        return checked.max_pool_grad(self.rank, dy, taps, x_shape, self.kernel_size, **self.options)

    def geometry(self, x_shape: tuple[int, ...]) -> PoolGeometry:
        return PoolGeometry.of(f"max_pool{self.rank}d", x_shape, self.kernel_size, rank=self.rank, **self.options)

    def __repr__(self) -> str:
        return _describe(self, self.kernel_size, self.options)


class MaxPool1d(_MaxPool):
    """The largest element of every window: x (N, C, W) -> y (N, C, Q); the arguments are max_pool1d's. With
    layout="NHWC" x is (N, W, C) and y (N, Q, C).
    """

    rank = 1


class MaxPool2d(_MaxPool):
    """The largest element of every window: x (N, C, H, W) -> y (N, C, P, Q); the arguments are max_pool2d's. With
    layout="NHWC" x is (N, H, W, C) and y (N, P, Q, C).
    """

    rank = 2


class MaxPool3d(_MaxPool):
    """The largest element of every window: x (N, C, D, H, W) -> y (N, C, Z, P, Q); the arguments are max_pool3d's. With
    layout="NHWC" x is (N, D, H, W, C) and y (N, Z, P, Q, C).
    """

    rank = 3


class _AvgPool(Layer):
    """Along `rank` axes."""

    operation = "avg_pool"
    rank: int

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        layout: str = NCHW,
    ) -> None:
        self.kernel_size = _checked(self, kernel_size, stride, padding, 1, layout)
        check_divisor_override(type(self).__name__, divisor_override)
        self.options = {
            "stride": checks.fixed(stride),
            "padding": checks.fixed(padding),
            "ceil_mode": bool(ceil_mode),
            "count_include_pad": bool(count_include_pad),
            "divisor_override": checks.fixed(divisor_override),
            "layout": layout,
        }

    def forward(self, x: A) -> A:
        y = checked.avg_pool(self.rank, x, self.kernel_size, **self.options)
        self._keep(x.shape)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        if not needs_input_grad:
            return None
        return checked.avg_pool_grad(self.rank, dy, x_shape, self.kernel_size, **self.options)

    def geometry(self, x_shape: tuple[int, ...]) -> AvgPoolGeometry:
        return AvgPoolGeometry.of_average(
            f"avg_pool{self.rank}d", x_shape, self.kernel_size, rank=self.rank, **self.options
        )

    def __repr__(self) -> str:
        return _describe(self, self.kernel_size, self.options)


class AvgPool1d(_AvgPool):
    """The average of every window: x (N, C, W) -> y (N, C, Q); the arguments are avg_pool1d's. With
    layout="NHWC" x is (N, W, C) and y (N, Q, C).
    """

    rank = 1


class AvgPool2d(_AvgPool):
    """The average of every window: x (N, C, H, W) -> y (N, C, P, Q); the arguments are avg_pool2d's. With
    layout="NHWC" x is (N, H, W, C) and y (N, P, Q, C).
    """

    rank = 2


class AvgPool3d(_AvgPool):
    """The average of every window: x (N, C, D, H, W) -> y (N, C, Z, P, Q); the arguments are avg_pool3d's. With
    layout="NHWC" x is (N, D, H, W, C) and y (N, Z, P, Q, C).
    """

    rank = 3


class _AdaptiveAvgPool(Layer):
    """Along `rank` axes."""

    operation = "adaptive_avg_pool"
    rank: int

    def __init__(self, output_size: PerAxis, *, layout: str = NCHW) -> None:
        name = type(self).__name__
        self.output_size = checks.per_axis(name, "output_size", output_size, self.rank, 1)
        is_channels_last(name, layout)
        self.options = {"layout": layout}

    def forward(self, x: A) -> A:
        y = checked.adaptive_avg_pool(self.rank, x, self.output_size, **self.options)
        self._keep(x.shape)
        return y

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape = self._kept()
        if not needs_input_grad:
            return None
        return checked.adaptive_avg_pool_grad(self.rank, dy, x_shape, **self.options)

    def geometry(self, x_shape: tuple[int, ...]) -> AdaptivePoolGeometry:
        return AdaptivePoolGeometry.of(
            f"adaptive_avg_pool{self.rank}d", x_shape, output_size=self.output_size, rank=self.rank, **self.options
        )

    def __repr__(self) -> str:
        return _describe(self, self.output_size, self.options)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The average of each of output_size windows: x (N, C, W) -> y (N, C, Q); output_size is an int or (Q,).
    With layout="NHWC" x is (N, W, C) and y (N, Q, C).
    """

    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The average of each of output_size windows: x (N, C, H, W) -> y (N, C, P, Q); output_size is an int or (P, Q).
    With layout="NHWC" x is (N, H, W, C) and y (N, P, Q, C).
    """

    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The average of each of output_size windows: x (N, C, D, H, W) -> y (N, C, Z, P, Q); output_size is an int or
    (Z, P, Q). With layout="NHWC" x is (N, D, H, W, C) and y (N, Z, P, Q, C).
    """

    rank = 3


def _checked(
    layer: _MaxPool | _AvgPool,
    kernel_size: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    dilation: PerAxis,
    layout: str,
) -> tuple[int, ...]:
    """kernel_size for each axis; every option is checked, on the smallest input the window fits."""
    name = type(layer).__name__
    is_channels_last(name, layout)
    kernel = checks.per_axis(name, "kernel_size", kernel_size, layer.rank, 1)
    axes = parse_axes(name, kernel, kernel, 1 if stride is None else stride, padding, dilation)
    smallest = (0, 0, *(axis.reach + 1 for axis in axes))
    PoolGeometry.of(name, smallest, kernel, stride=stride, padding=padding, dilation=dilation, rank=layer.rank)
    return kernel


def _describe(layer: Layer, kernel: tuple[int, ...], options: dict[str, Any]) -> str:
    defaults = {"padding": 0, "dilation": 1, "ceil_mode": False, "count_include_pad": True, "layout": NCHW}
    given = "".join(f", {k}={v!r}" for k, v in options.items() if v != defaults.get(k))
    return f"{type(layer).__name__}({kernel}{given})"
