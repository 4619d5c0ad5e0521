"""Padding is not there: an infinity or NaN among weights or gradients reaches what its tap reaches inside the image.

Kernels that multiply padding as zero would give NaN (0 * inf) beside it. Every one of them is met here.
"""

from __future__ import annotations

from typing import Any

import emulator
import numpy as np
import pytest
from accuracy import dtype_of, integers
from cupys import emulated

from backstride import kernels

# The kernels that must run, and the dtype, x, w and options that make them.
KERNELS = {
    "gather": (
        ("conv_forward", "conv_input_grad", "conv_weight_grad"),
        "float32",
        (2, 9, 7, 6),
        (18, 9, 3, 2),
        {},
    ),
    "gather, strided": (
        ("conv_forward", "conv_input_grad", "conv_weight_grad"),
        "float32",
        (2, 12, 9, 8),
        (8, 6, 3, 3),
        {"stride": 2, "groups": 2},
    ),
    "gather, split": (
        ("conv_forward", "conv_input_grad", "conv_weight_grad", "split_sum"),
        "float64",
        (1, 40, 8, 9),
        (33, 40, 5, 3),
        {"padding": (2, 1)},
    ),
    "halo": (
        ("conv_halo", "conv_weight_grad_halo"),
        "float16",
        (2, 40, 24, 22),
        (40, 40, 3, 3),
        {},
    ),
    "few channels": (
        ("few_channels", "few_channels_input_grad"),
        "float32",
        (2, 3, 11, 17),
        (5, 3, 5, 3),
        {"stride": 2, "padding": ((1, 2), (1, 0))},
    ),
    "depthwise": (
        ("depthwise_forward", "depthwise_input_grad", "depthwise_weight_grad"),
        "float16",
        (2, 5, 8, 16),
        (10, 1, 3, 3),
        {"groups": 5},
    ),
    "depthwise, strided": (
        ("depthwise_forward", "depthwise_input_grad", "depthwise_weight_grad"),
        "float32",
        (2, 6, 9, 8),
        (6, 1, 3, 3),
        {"stride": 2, "groups": 6},
    ),
    "depthwise, channels last": (
        ("depthwise_forward_nhwc", "depthwise_input_grad_nhwc", "depthwise_weight_grad_nhwc"),
        "float16",
        (2, 8, 9, 24),
        (24, 3, 3, 1),
        {"layout": "NHWC", "groups": 24},
    ),
    "depthwise, channels last, strided": (
        ("depthwise_forward_nhwc", "depthwise_input_grad_nhwc", "depthwise_weight_grad_nhwc"),
        "float32",
        (2, 8, 9, 3),
        (6, 3, 3, 1),
        {"layout": "NHWC", "groups": 3, "stride": 2},
    ),
    "channels last": (
        ("conv_forward_nhwc",),
        "float32",
        (2, 9, 7, 8),
        (18, 3, 2, 8),
        {"layout": "NHWC"},
    ),
    "channels last, strided": (
        ("conv_forward_nhwc",),
        "float16",
        (2, 9, 8, 6),
        (8, 3, 3, 3),
        {"layout": "NHWC", "stride": 2, "groups": 2},
    ),
    "channels last, split": (
        ("conv_forward_nhwc", "split_sum"),
        "float64",
        (1, 8, 9, 40),
        (33, 5, 3, 40),
        {"layout": "NHWC", "padding": (2, 1)},
    ),
}


def of_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, value: float) -> np.ndarray:
    """Sums of these are exact, so that results agree in every bit; `value` is the first and the middle element."""
    array = integers(rng, shape).astype(dtype_of(dtype))
    array.flat[[0, array.size // 2]] = value
    return array


@pytest.mark.emulated
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("kernel", KERNELS)
@np.errstate(invalid="ignore")
def test_padding_is_not_multiplied(rng, monkeypatch, kernel, value):
    expected_kernels, dtype, x_shape, w_shape, options = KERNELS[kernel]
    options = {"padding": 1, **options}
    x = integers(rng, x_shape).astype(dtype_of(dtype))
    w = of_integers(rng, w_shape, dtype, value)
    b = integers(rng, w_shape[:1]).astype(dtype_of(dtype))
    dy = of_integers(rng, kernels.conv2d(x, w, **options).shape, dtype, value)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (lambda x, w, b: kernels.conv2d(x, w, b, **options), (x, w, b)),
        (lambda dy, w: kernels.conv2d_input_grad(dy, w, x_shape, **options), (dy, w)),
        (lambda dy, x: kernels.conv2d_weight_grad(dy, x, w_shape, **options), (dy, x)),
        (lambda dy, x: kernels.conv2d_parameter_grads(dy, x, w_shape, **options)[0], (dy, x)),
    ]
    with emulated(monkeypatch) as cupy:
        for compute, arrays in calls:
            with emulator.record_launches() as launches:
                got = compute(*map(cupy.asarray, arrays)).get()
            expected_kernels = set(expected_kernels) - {launch.name for launch in launches}
            expected = compute(*arrays)
            assert np.isfinite(expected).any()
            assert not np.isfinite(expected).all()
            np.testing.assert_array_equal(got, expected)
    assert not expected_kernels
