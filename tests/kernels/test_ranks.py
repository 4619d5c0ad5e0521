"""What is said of shapes and options along one axis and three, and with channels last; along two, test_errors says it
all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backstride import kernels


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


LINE, VOLUME = zeros(2, 4, 9), zeros(2, 4, 5, 8, 9)
ERRORS = [
    ("conv1d", (zeros(4, 9), zeros(6, 4, 3)), {}, "x.shape is (4, 9); expected three axes (N, C, W)"),
    ("conv1d", (LINE, zeros(6, 4, 3, 3)), {}, "w.shape is (6, 4, 3, 3); expected three axes (K, C/groups, S)"),
    ("conv1d", (LINE, zeros(6, 4, 3)), {"stride": (1, 2)}, "stride is (1, 2); expected an int or a (w,) tuple"),
    (
        "conv1d",
        (LINE, zeros(6, 4, 3)),
        {"padding": (1, 2)},
        "padding is (1, 2); expected an int, a (w,) tuple or ((left, right),)",
    ),
    (
        "conv1d",
        (LINE, zeros(6, 4, 3)),
        {"padding": ((1, 2, 3),)},
        "padding[0] is (1, 2, 3); expected a (before, after)",
    ),
    ("conv1d", (LINE, zeros(6, 4, 10)), {}, "the window's width (dilation*(kernel_size-1)+1) is 10; expected at most"),
    ("conv1d", (LINE, zeros(6, 4, 3), zeros(6, 1, 1)), {}, "b.shape is (6, 1, 1); expected (6,) or (6, 1)"),
    ("conv1d_input_grad", (zeros(2, 6, 8), zeros(6, 4, 3), (2, 4, 9)), {}, "dy.shape is (2, 6, 8); expected (2, 6, 7)"),
    ("conv1d_bias_grad", (zeros(2, 6, 7, 7),), {}, "dy.shape is (2, 6, 7, 7); expected three axes (N, K, Q)"),
    (
        "conv_transpose1d",
        (zeros(2, 6, 7), zeros(6, 4, 3)),
        {"padding": 5},
        "padding is 5; expected an output of at least 1",
    ),
    ("max_pool1d", (LINE, (2, 2)), {}, "kernel_size is (2, 2); expected an int or a (w,) tuple"),
    ("avg_pool1d", (zeros(2, 4, 8, 9), 2), {}, "x.shape is (2, 4, 8, 9); expected three axes (N, C, W)"),
    ("adaptive_avg_pool1d", (LINE, (2, 2)), {}, "output_size is (2, 2); expected an int or a (w,) tuple"),
    (
        "conv3d",
        (zeros(2, 4, 8, 9), zeros(6, 4, 3, 3, 3)),
        {},
        "x.shape is (2, 4, 8, 9); expected five axes (N, C, D, H, W)",
    ),
    ("conv3d", (VOLUME, zeros(6, 4, 3, 3)), {}, "w.shape is (6, 4, 3, 3); expected five axes (K, C/groups, T, R, S)"),
    (
        "conv3d",
        (VOLUME, zeros(6, 4, 6, 1, 1)),
        {},
        "the window's depth (dilation*(kernel_size-1)+1) is 6; expected at most",
    ),
    (
        "conv3d",
        (VOLUME, zeros(6, 4, 3, 3, 3)),
        {"dilation": (1, 2)},
        "dilation is (1, 2); expected an int or a (d, h, w) tuple",
    ),
    (
        "conv3d",
        (VOLUME, zeros(6, 4, 3, 3, 3)),
        {"padding": "full"},
        "padding is 'full'; expected an int, a (d, h, w) tuple, ((front, back), (top, bottom), (left, right)), 'valid'",
    ),
    ("conv3d", (zeros(2, 4, 0, 8, 9), zeros(6, 4, 1, 1, 1)), {}, "x.shape extent D is 0; expected at least 1"),
    ("conv3d", (VOLUME, zeros(6, 4, 0, 1, 1)), {}, "w.shape is K=6, T=0, R=1, S=1; expected each at least 1"),
    (
        "conv3d_weight_grad",
        (zeros(2, 6, 5, 8), VOLUME, (6, 4, 1, 1, 1)),
        {},
        "expected (2, 6, 5, 8, 9), that is (N, K, Z, P, Q)",
    ),
    (
        "conv_transpose3d",
        (zeros(1, 6, 2, 2, 2), zeros(6, 4, 1, 1, 1)),
        {"padding": 2},
        "expected an output of at least 1x1x1",
    ),
    ("max_pool3d", (VOLUME, 2), {"padding": (0, 2, 0)}, "= 1 on each side of axis 1"),
    (
        "max_pool3d_grad",
        (zeros(2, 4, 2, 4, 4), zeros(2, 4, 2, 4, 4, dtype=np.int32), VOLUME.shape, 2),
        {},
        "taps.dtype is int32; expected uint8, as max_pool3d returns for a 2x2x2 window",
    ),
    ("avg_pool3d_grad", (zeros(2, 4, 2, 4, 3), VOLUME.shape, 2), {}, "that is (N, C, Z, P, Q)"),
    ("adaptive_avg_pool3d_grad", (zeros(2, 4, 2, 2), VOLUME.shape), {}, "dy.shape is (2, 4, 2, 2); expected five axes"),
]


IMAGE, LAST = zeros(2, 8, 9, 4), {"layout": "NHWC"}
CHANNELS_LAST_ERRORS = [
    ("conv2d", (IMAGE, zeros(6, 3, 3, 4)), {"layout": "nhwc"}, "layout is 'nhwc'; expected 'NCHW' or 'NHWC'"),
    ("conv2d_bias_grad", (IMAGE,), {"layout": None}, "layout is None; expected 'NCHW' or 'NHWC'"),
    ("adaptive_avg_pool2d", (IMAGE, 2), {"layout": ("NHWC",)}, "layout is ('NHWC',); expected 'NCHW' or 'NHWC'"),
    ("conv1d", (zeros(9, 4), zeros(6, 3, 4)), LAST, "x.shape is (9, 4); expected three axes (N, W, C)"),
    ("conv2d", (IMAGE, zeros(6, 3, 4)), LAST, "w.shape is (6, 3, 4); expected four axes (K, R, S, C/groups)"),
    (
        "conv2d",
        (IMAGE, zeros(6, 4, 3, 3)),
        LAST,
        "w.shape is (6, 4, 3, 3) (axis 3 is 3); expected axis 3 to be C/groups",
    ),
    ("conv3d", (IMAGE, zeros(6, 1, 3, 3, 4)), LAST, "expected five axes (N, D, H, W, C)"),
    ("conv2d", (zeros(2, 0, 9, 4), zeros(6, 1, 1, 4)), LAST, "x.shape extent H is 0; expected at least 1"),
    ("conv2d", (IMAGE, zeros(6, 0, 3, 4)), LAST, "w.shape is K=6, R=0, S=3; expected each at least 1"),
    ("conv2d", (IMAGE, zeros(6, 3, 3, 4), zeros(1, 1, 6)), LAST, "b.shape is (1, 1, 6); expected (6,) or (6, 1, 1)"),
    (
        "conv2d_grads",
        (zeros(2, 6, 6, 7), IMAGE, zeros(6, 3, 3, 4)),
        LAST,
        "dy.shape is (2, 6, 6, 7); expected (2, 6, 7, 6), that is (N, P, Q, K)",
    ),
    ("conv_transpose2d", (IMAGE, zeros(4, 3, 3)), LAST, "w.shape is (4, 3, 3); expected four axes (C, R, S, K/groups)"),
    ("conv2d_bias_grad", (zeros(6, 7, 6),), LAST, "dy.shape is (6, 7, 6); expected four axes (N, P, Q, K)"),
    ("max_pool2d", (IMAGE[0], 2), LAST, "x.shape is (8, 9, 4); expected four axes (N, H, W, C)"),
    ("avg_pool2d_grad", (zeros(2, 4, 4, 4), (2, 4, 8, 9), 2), LAST, "that is (N, P, Q, C)"),
    ("adaptive_avg_pool1d_grad", (IMAGE, (2, 9, 4)), LAST, "expected three axes (N, Q, C)"),
]


@pytest.mark.parametrize(("name", "arguments", "options", "message"), ERRORS + CHANNELS_LAST_ERRORS)
def test_errors_name_the_function_and_its_axes(name, arguments, options, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(kernels, name)(*arguments, **options)
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("rank", [1, 3])
def test_padding_by_name(rank):
    conv, extents = getattr(kernels, f"conv{rank}d"), (5, 8, 9)[-rank:]
    x, w = zeros(1, 1, *extents), zeros(1, 1, *(4, 3, 2)[-rank:])
    assert conv(x, w, padding="same").shape == (1, 1, *extents)
    assert conv(x, w, padding="valid").shape == (1, 1, *(2, 6, 8)[-rank:])
