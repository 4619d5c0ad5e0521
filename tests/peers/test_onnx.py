"""ONNX's own node tests of Conv, ConvTranspose, MaxPool, AveragePool and Gemm, through this package's operations."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

from backstride import kernels

onnx = pytest.importorskip("onnx", reason="ONNX's node tests come with the package onnx")

OPERATORS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "Gemm")

COVERED = """
averagepool_1d_default averagepool_2d_ceil averagepool_2d_ceil_last_window_starts_on_pad averagepool_2d_default
averagepool_2d_pads averagepool_2d_pads_count_include_pad averagepool_2d_precomputed_pads
averagepool_2d_precomputed_pads_count_include_pad averagepool_2d_precomputed_same_upper
averagepool_2d_precomputed_strides averagepool_2d_same_lower averagepool_2d_same_upper averagepool_2d_strides
averagepool_3d_default basic_conv_with_padding basic_conv_without_padding conv_with_autopad_same
conv_with_strides_and_asymmetric_padding conv_with_strides_no_padding conv_with_strides_padding convtranspose
convtranspose_1d convtranspose_3d convtranspose_autopad_same convtranspose_dilations convtranspose_group_2
convtranspose_group_2_image_3 convtranspose_kernel_shape convtranspose_output_shape convtranspose_pad
convtranspose_pads gemm_all_attributes gemm_alpha gemm_beta gemm_default_no_bias gemm_default_scalar_bias
gemm_default_single_elem_vector_bias gemm_default_vector_bias gemm_default_zero_bias gemm_transposeA gemm_transposeB
maxpool_1d_default maxpool_2d_ceil maxpool_2d_ceil_output_size_reduce_by_one maxpool_2d_default maxpool_2d_dilations
maxpool_2d_pads maxpool_2d_precomputed_pads maxpool_2d_precomputed_same_upper maxpool_2d_precomputed_strides
maxpool_2d_same_lower maxpool_2d_same_upper maxpool_2d_strides maxpool_3d_default maxpool_3d_dilations
maxpool_3d_dilations_use_ref_impl maxpool_3d_dilations_use_ref_impl_large maxpool_with_argmax_2d_precomputed_pads
maxpool_with_argmax_2d_precomputed_strides
""".split()

LEFT_OUT = {
    "average pooling here has no dilation, as in PyTorch": """
averagepool_2d_dilations averagepool_3d_dilations_small
averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True
""".split(),
    "arrays here are floating point": ["maxpool_2d_uint8"],
    "the bias is a vector over the outputs, not a matrix": ["gemm_default_matrix_bias"],
}


@cache
def node_tests() -> dict[str, Any]:
    """ONNX's single-node tests of the five operators, by name without its 'test_'."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes its own expectations, of all operators, with NumPy
        found = load_model_tests(kind="node")
    return {
        test.name.removeprefix("test_"): test
        for test in found
        if len(test.model.graph.node) == 1 and test.model.graph.node[0].op_type in OPERATORS
    }


def kernel_of(stem: str, x: np.ndarray, suffix: str = "") -> Any:
    return getattr(kernels, f"{stem}{x.ndim - 2}d{suffix}")


def padding(a: dict[str, Any], extents: tuple[int, ...], kernel: tuple[int, ...]) -> Any:
    """ONNX's pads and auto_pad as (before, after) for each axis; SAME_LOWER puts the odd element first."""
    auto, ones = a.get("auto_pad", b"NOTSET").decode(), [1] * len(extents)
    if auto == "NOTSET":
        pads = a.get("pads", [0] * 2 * len(extents))
        return tuple(zip(pads[: len(extents)], pads[len(extents) :], strict=True))
    assert auto in ("SAME_UPPER", "SAME_LOWER")
    sides = []
    for extent, taps, step, spread in zip(
        extents, kernel, a.get("strides", ones), a.get("dilations", ones), strict=True
    ):
        total = max(0, (-(-extent // step) - 1) * step + spread * (taps - 1) + 1 - extent)
        half = total // 2
        sides.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
    return tuple(sides)


def options(a: dict[str, Any], *names: str) -> dict[str, Any]:
    onnx_names = {"stride": "strides", "dilation": "dilations", "groups": "group", "output_padding": "output_padding"}
    given = {name: a[onnx_names[name]] for name in names if onnx_names[name] in a}
    return {name: tuple(value) if not isinstance(value, int) else value for name, value in given.items()}


def run_conv(path, a, x, w, b=None):
    sides = padding(a, x.shape[2:], w.shape[2:])
    return [path.run(kernel_of("conv", x), x, w, b, padding=sides, **options(a, "stride", "dilation", "groups"))]


def run_convtranspose(path, a, x, w, b=None):
    chosen = options(a, "stride", "dilation", "groups", "output_padding")
    wanted = a.get("output_shape")
    if a.get("auto_pad") == b"SAME_UPPER":
        wanted = [extent * step for extent, step in zip(x.shape[2:], a["strides"], strict=True)]
    if wanted is None:
        return [path.run(kernel_of("conv_transpose", x), x, w, b, padding=padding(a, x.shape[2:], ()), **chosen)]
    # the padding, or where it is negative the output_padding, that gives the wanted size
    full = path.run(kernel_of("conv_transpose", x), x, w, b, **chosen).shape[2:]
    surplus = [have - want for have, want in zip(full, wanted, strict=True)]
    sides = tuple((max(s, 0) // 2, max(s, 0) - max(s, 0) // 2) for s in surplus)
    if min(surplus) < 0:
        chosen["output_padding"] = tuple(max(-s, 0) for s in surplus)
    return [path.run(kernel_of("conv_transpose", x), x, w, b, padding=sides, **chosen)]


def run_maxpool(path, a, x):
    kernel = tuple(a["kernel_shape"])
    chosen = {"stride": tuple(a.get("strides", (1,) * (x.ndim - 2))), "padding": padding(a, x.shape[2:], kernel)}
    chosen |= {**options(a, "dilation"), "ceil_mode": bool(a.get("ceil_mode", 0))}
    y, taps = path.run(kernel_of("max_pool", x), x, kernel, **chosen)
    positions = path.run(kernel_of("max_pool", x, "_indices"), taps, x.shape, kernel, **chosen)
    n, c, *extents = x.shape
    if a.get("storage_order", 0) == 1:
        h, w = extents
        positions = positions % w * h + positions // w
    planes = np.arange(n * c).reshape(n, c, *(1 for _ in extents))
    return [y, positions + planes * np.prod(extents)]  # ONNX counts through the whole tensor


def run_averagepool(path, a, x):
    kernel = tuple(a["kernel_shape"])
    chosen = {"stride": tuple(a.get("strides", (1,) * (x.ndim - 2))), "padding": padding(a, x.shape[2:], kernel)}
    chosen |= {name: bool(a.get(name, 0)) for name in ("ceil_mode", "count_include_pad")}
    return [path.run(kernel_of("avg_pool", x), x, kernel, **chosen)]


def run_gemm(path, a, x, w, b=None):
    """alpha scales the weights, beta the bias; transposition is a view."""
    x = x.T if a.get("transA") else x
    w = (w if a.get("transB") else w.T) * np.float32(a.get("alpha", 1))
    if b is not None:
        b = np.broadcast_to(b, (1, len(w))).reshape(-1) * np.float32(a.get("beta", 1))
    return [path.run(kernels.linear, x, w, b)]


@pytest.mark.parametrize("name", COVERED)
def test_node(path, name):
    if name not in node_tests():
        pytest.skip(f"not among the tests of onnx {onnx.__version__}")
    test = node_tests()[name]
    (node,) = test.model.graph.node
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    run = globals()[f"run_{node.op_type.lower()}"]
    for inputs, outputs in test.data_sets:
        results = run(path, attributes, *inputs)
        for got, expected in zip(results, outputs, strict=False):  # ONNX asks for the indices only sometimes
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=test.rtol, atol=test.atol)


def test_no_case_is_forgotten():
    listed = [*COVERED, *(name for names in LEFT_OUT.values() for name in names)]
    assert len(listed) == len(set(listed))
    assert len(node_tests()) >= 60
    assert set(node_tests()) <= set(listed)
