"""Convolution on CUDA: implicit matrix products, but direct kernels where the products would be too narrow."""

from __future__ import annotations

from typing import Any

from ..geometry import Conv2dGeometry
from .errors import reported
from .launch import check_index, empty, inputs, launch_product, product_params
from .loader import fast_div
from .tiles import Product, architecture_of, choose, vector

_WINDOW = (
    ("H", "int"), ("W", "int"), ("P", "FastDiv"), ("Q", "FastDiv"), ("R", "FastDiv"), ("S", "FastDiv"),
    ("stride_h", "int"), ("stride_w", "int"), ("top", "int"), ("left", "int"),
    ("dilation_h", "int"), ("dilation_w", "int"), ("plane", "FastDiv"),
    ("image_x", "long long"), ("image_y", "long long"), ("group_x", "int"), ("group_y", "int"), ("plane_x", "int"),
)  # fmt: skip
_FORWARD = product_params(("x", "const Element*"), ("w", "const Element*"), *_WINDOW)


def _window(g: Conv2dGeometry) -> dict[str, Any]:
    """The parameters that describe a convolution, as _WINDOW names them."""
    (top, _), (left, _) = g.padding
    return dict(
        H=g.H, W=g.W, P=fast_div(g.P), Q=fast_div(g.Q), R=fast_div(g.R), S=fast_div(g.S),
        stride_h=g.stride[0], stride_w=g.stride[1], top=top, left=left,
        dilation_h=g.dilation[0], dilation_w=g.dilation[1], plane=fast_div(g.P * g.Q),
        image_x=g.C * g.H * g.W, image_y=g.K * g.P * g.Q,
        group_x=g.C // g.groups * g.H * g.W, group_y=g.K // g.groups * g.P * g.Q, plane_x=g.H * g.W,
    )  # fmt: skip


def _is_pointwise(g: Conv2dGeometry) -> bool:
    """A 1x1 window that visits every pixel: x and y then are matrices of channels by pixels."""
    return g.R == g.S == 1 and (g.P, g.Q) == (g.H, g.W) and g.stride == (1, 1)


def conv2d_forward(x, w, b, g):
    x, w, b = inputs(x, w, b)
    y = empty(g.y_shape, x.dtype)
    depth = g.C // g.groups * g.R * g.S
    pointwise = _is_pointwise(g)
    product = Product(g.N * g.P * g.Q, g.K // g.groups, depth, g.groups, False, True)
    defines = {
        "POINTWISE": int(pointwise),
        "A_VECTOR": vector(x.itemsize, g.P * g.Q) if pointwise else 1,
        "B_VECTOR": vector(x.itemsize, depth),
        "BIAS_ALONG_M": 0,
    }
    launch_product(
        "conv2d_forward", choose(product, x.dtype.name, architecture_of(x)), _FORWARD, defines, y, b,
        groups=g.groups, channels=(g.K, g.P * g.Q), x=x, w=w, **_window(g),
    )  # fmt: skip
    return y

conv2d = reported(conv2d_forward)
