"""Convolution along one axis and three, and with channels last: sums of integers, which are exact whatever their order,
against the reference.

Each case has one of the dtypes; along two axes test_conv2d.py has all of them.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_exact, dtype_of, integers
from cupys import emulated

from backstride import kernels
from backstride.kernels.conv import cases1d, cases3d, cases_nhwc
from backstride.kernels.operation import Case


def with_dtypes(*cases: Case) -> list[Any]:
    return [pytest.param(case, dtype, id=f"{case}-{dtype}") for case, dtype in zip(cases, cycle(DTYPES), strict=False)]


def layout_of(case: Case) -> dict[str, str]:
    return {"layout": case.options.get("layout", "NCHW")}


def public(stem: str, case: Case, rest: str = "") -> Any:
    return getattr(kernels, f"{stem}{len(case.x) - 2}d{rest}")


@pytest.mark.parametrize(("case", "dtype"), with_dtypes(*cases1d.CONV, *cases3d.CONV, *cases_nhwc.CONV))
def test_convolution_and_its_gradients(path, rng, case, dtype):
    x, w, b = (integers(rng, shape) for shape in (case.x, case.w, case.w[:1]))
    y = reference.conv(x, w, b, **case.options)
    dy = integers(rng, y.shape)
    dx, layout = reference.conv_input_grad(dy, w, case.x, **case.options), layout_of(case)
    db = reference.conv_bias_grad(dy, **layout)
    dw = reference.conv_weight_grad(dy, x, case.w, **case.options)
    x, w, b, dy = (a.astype(dtype_of(dtype)) for a in (x, w, b, dy))
    results = {
        "": ((x, w, b), (), (y,)),
        "_input_grad": ((dy, w), (case.x,), (dx,)),
        "_weight_grad": ((dy, x), (case.w,), (dw,)),
        "_parameter_grads": ((dy, x), (case.w,), (dw, db)),
        "_grads": ((dy, x, w), (), (dx, dw, db)),
    }
    for operation, (arrays, shapes, expected) in results.items():
        got = path.run(public("conv", case, operation), *arrays, *shapes, **case.options)
        for each, exact in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
            assert_exact(each, exact)
    assert_exact(path.run(public("conv", case, "_bias_grad"), dy, **layout), db)


@pytest.mark.parametrize(
    ("case", "dtype"),
    with_dtypes(*cases1d.CONV_TRANSPOSE, *cases3d.CONV_TRANSPOSE, *cases_nhwc.CONV_TRANSPOSE),
)
def test_transposed_convolution(path, rng, case, dtype):
    filters = case.w[-1 if "layout" in case.options else 1] * case.options.get("groups", 1)
    arrays = [integers(rng, shape) for shape in (case.x, case.w, (filters,))]
    got = path.run(public("conv_transpose", case), *(a.astype(dtype_of(dtype)) for a in arrays), **case.options)
    assert_exact(got, reference.conv_transpose(*arrays, **case.options))


@pytest.mark.emulated
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("w_shape", [(5, 4, 3, 2, 3), (8, 1, 3, 2, 3)], ids=["gather", "depthwise"])
@np.errstate(invalid="ignore")
def test_padding_around_volumes_is_not_multiplied(monkeypatch, rng, w_shape, value):
    """In an infinite or NaN weight or gradient; test_padding.py has the kernels for two axes."""
    options = {"padding": (1, 1, 2), "stride": (1, 2, 1), "groups": 4 // w_shape[1]}
    x, w = integers(rng, (2, 4, 3, 5, 4)), integers(rng, w_shape)
    dy = integers(rng, kernels.conv3d(x, w, **options).shape)
    w.flat[0] = w.flat[w.size // 2] = dy.flat[0] = value
    x, w, dy = (a.astype(np.float32) for a in (x, w, dy))
    expected = kernels.conv3d(x, w, **options), *kernels.conv3d_grads(dy, x, w, **options)[:2]
    with emulated(monkeypatch) as cupy, emulator.record_launches():
        dy, x, w = map(cupy.asarray, (dy, x, w))
        results = kernels.conv3d(x, w, **options), *kernels.conv3d_grads(dy, x, w, **options)[:2]
        for got, wanted in zip(results, expected, strict=True):
            assert np.isfinite(wanted).any()
            assert not np.isfinite(wanted).all()
            np.testing.assert_array_equal(got.get(), wanted)


@pytest.mark.emulated
def test_lines_run_as_images_and_volumes_by_the_gather(monkeypatch, rng):
    """The kernels of few channels, tiny layers and halo tiles are for two axes; depthwise ones for all."""
    line, volume = (1, 3, 40), (1, 3, 5, 6, 7)
    with emulated(monkeypatch) as cupy:
        for shape, taps, groups, expected in (
            (line, (3,), 1, ["few_channels", "tiny_grads"]),
            (volume, (3, 3, 3), 1, ["conv_forward", "conv_input_grad", "conv_weight_grad"]),
            (volume, (3, 3, 3), 3, ["depthwise_forward", "depthwise_input_grad", "depthwise_weight_grad"]),
        ):
            case = Case("", shape, (6, 3 // groups, *taps), {"padding": 1, "groups": groups})
            x, w = (cupy.asarray(integers(rng, each).astype(np.float32)) for each in (case.x, case.w))
            with emulator.record_launches() as launches:
                y = public("conv", case)(x, w, **case.options)
                public("conv", case, "_grads")(y, x, w, **case.options)
            assert [
                each.name for each in launches if each.name not in ("split_sum", "bias_grad", "pack_class_weights")
            ] == expected
