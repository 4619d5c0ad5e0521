"""Resizing and its gradient against the reference, beside PyTorch, and as a layer."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, dtype_of, normal
from gradcheck import assert_gradient

from backstride import explain, kernels
from backstride.kernels.resize.cases import UPSAMPLE
from backstride.layers import Sequential, Upsample

FINITE = [case for case in UPSAMPLE if 0 not in case.x]


def how(case):
    return case.options["mode"], case.options["align_corners"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", UPSAMPLE, ids=str)
def test_value_and_gradient(path, case, dtype, rng):
    x, size = normal(rng, case.x, dtype), case.options["size"]
    y = path.run(kernels.upsample, x.astype(dtype_of(dtype)), size, *how(case))
    exact = reference.upsample(x, size, *how(case))
    assert_accurate(y, exact, reference.upsample(np.abs(x), size, *how(case)), 8)  # two shares an axis, and three sums
    dy = normal(rng, exact.shape, dtype)
    dx = path.run(kernels.upsample_grad, dy.astype(dtype_of(dtype)), case.x, *how(case))
    exact = reference.upsample_grad(dy, case.x, *how(case))
    terms = size[0] * size[1] + 8  # at most
    assert_accurate(dx, exact, reference.upsample_grad(np.abs(dy), case.x, *how(case)), terms)


@pytest.mark.parametrize("case", FINITE, ids=str)
def test_the_gradient_predicts_differences(path, case, rng):
    x, size = rng.standard_normal(case.x), case.options["size"]
    dy = rng.standard_normal((*case.x[:2], *size))
    dx = path.run(kernels.upsample_grad, dy, case.x, *how(case))
    assert_gradient(lambda x: path.run(kernels.upsample, x, size, *how(case)), x, dy, dx, rng)


@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_what_has_no_share_does_not_leak(path, mode, align_corners):
    x = np.ones((1, 1, 4, 5), np.float32)
    x[0, 0, 0, 0], x[0, 0, 3, 4] = np.inf, np.nan
    y = path.run(kernels.upsample, x, (7, 9), mode, align_corners)
    assert not np.isfinite(y[0, 0, 0, 0])
    assert np.isnan(y[0, 0, 6, 8])
    reached = reference.upsample((~np.isfinite(x)).astype(float), (7, 9), mode, align_corners) > 0
    np.testing.assert_array_equal(~np.isfinite(y), reached)
    dy = np.ones((1, 1, 7, 9), np.float32)
    dy[0, 0, 0, 0] = np.inf
    dx = path.run(kernels.upsample_grad, dy, x.shape, mode, align_corners)
    reached = reference.upsample_grad((~np.isfinite(dy)).astype(float), x.shape, mode, align_corners) > 0
    np.testing.assert_array_equal(~np.isfinite(dx), reached)


def test_the_same_size_is_a_copy(path, rng):
    x = rng.standard_normal((2, 3, 5, 4)).astype(np.float32)
    for options in (("nearest",), ("bilinear",), ("bilinear", True)):
        np.testing.assert_array_equal(path.run(kernels.upsample, x, (5, 4), *options), x)
        np.testing.assert_array_equal(path.run(kernels.upsample_grad, x, x.shape, *options), x)


def test_one_launch_each():
    with emulator.installed() as cupy, emulator.record_launches() as launches:
        x = cupy.asarray(np.ones((2, 3, 4, 5), np.float32))
        kernels.upsample_grad(kernels.upsample(x, 9, "bilinear"), x.shape, "bilinear")
    assert [launch.name for launch in launches] == ["upsample", "upsample_grad"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: kernels.upsample(x[0], 8), r"upsample: x.shape is \(3, 4, 5\); expected four axes \(N, C, H, W\)"),
        (lambda x: kernels.upsample(x[:, :, :0], 8), "upsample: x.shape extent H is 0; expected at least 1"),
        (lambda x: kernels.upsample(x, 0), "upsample: size is 0; expected an int >= 1"),
        (
            lambda x: kernels.upsample(x, (1, 2, 3)),
            r"upsample: size is \(1, 2, 3\); expected an int or an \(h",
        ),
        (lambda x: kernels.upsample(x, 8, "cubic"), "upsample: mode is 'cubic'; expected 'nearest' or 'bilinear'"),
        (lambda x: kernels.upsample(x, 8, "nearest", True), "upsample: align_corners is True; expected False for the"),
        (lambda x: kernels.upsample_grad(x, (2, 4, 2, 2)), r"upsample_grad: dy.shape is \(2, 3, 4, 5\); expected"),
        (lambda x: kernels.upsample_grad(x[0], (2, 3, 2, 2)), r"upsample_grad: dy.shape is \(3, 4, 5\); expected four"),
        (lambda x: kernels.upsample_grad(x, (2, 3, 0, 2)), "upsample_grad: x_shape extent H is 0; expected at least 1"),
        (lambda x: Upsample(), "Upsample: size is None; expected either a scale_factor or a size"),
        (lambda x: Upsample(2, 8), "Upsample: size is 8; expected either a scale_factor or a size"),
        (lambda x: Upsample(1.5), "Upsample: scale_factor is 1.5; expected an int >= 1"),
        (lambda x: Upsample(2, mode="area"), "Upsample: mode is 'area'; expected"),
        (lambda x: Upsample(2)(x[0]), r"upsample: x.shape is \(3, 4, 5\); expected four axes"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize(
    ("layer", "size", "text"),
    [
        (Upsample(2), (8, 10), "Upsample(scale_factor=(2, 2), mode='nearest')"),
        (Upsample((1, 3), mode="bilinear"), (4, 15), "Upsample(scale_factor=(1, 3), mode='bilinear')"),
        (
            Upsample(size=7, mode="bilinear", align_corners=True),
            (7, 7),
            "Upsample(size=(7, 7), mode='bilinear', align_corners=True)",
        ),
    ],
)
def test_layer(layer, size, text, rng):
    x = rng.standard_normal((2, 3, 4, 5))
    y = layer(x)
    options = layer.mode, layer.align_corners
    np.testing.assert_array_equal(y, kernels.upsample(x, size, *options))
    np.testing.assert_array_equal(layer.backward(y), kernels.upsample_grad(y, x.shape, *options))
    layer(x)
    assert layer.backward(y, needs_input_grad=False) is None
    assert repr(layer) == text
    explanation = explain(Sequential(layer), (1, 2, 4, 5))
    assert explanation.agrees
    for index in np.ndindex(1, 2, 4, 5):
        terms = explanation.term("upsample.dx", index)
        assert terms.total == pytest.approx(terms.computed, rel=1e-13, abs=1e-13)


def exact_in_float32(extent, size):
    """Whether PyTorch, which rounds extent / size to float32, finds the nearest positions that whole numbers find."""
    scale, p = np.float32(extent) / np.float32(size), np.arange(size)
    return np.array_equal((p.astype(np.float32) * scale).astype(int), p * extent // size)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("mode", "align_corners"), [("nearest", None), ("bilinear", False), ("bilinear", True)])
def test_pytorch_agrees(mode, align_corners, dtype, rng, torch):
    compared = 0
    for _ in range(60):
        extents, size = rng.integers(1, 24, 2), tuple(map(int, rng.integers(1, 40, 2)))
        if mode == "nearest" and not all(map(exact_in_float32, extents, size)):
            continue
        compared += 1
        x = rng.standard_normal((2, 3, *extents)).astype(dtype)
        t = torch.from_numpy(x).requires_grad_()
        theirs = torch.nn.functional.interpolate(t, size, mode=mode, align_corners=align_corners)
        dy = rng.standard_normal(theirs.shape).astype(dtype)
        theirs.backward(torch.from_numpy(dy))
        # float32: positions up to 24 are rounded there, and so are shares; a pixel may have a share of all 1,521
        tolerance = {"float64": 1e-12, "float32": 1e-4}[dtype]
        options = mode, bool(align_corners)
        np.testing.assert_allclose(kernels.upsample(x, size, *options), theirs.detach(), rtol=0, atol=tolerance)
        np.testing.assert_allclose(kernels.upsample_grad(dy, x.shape, *options), t.grad, rtol=0, atol=10 * tolerance)
    assert compared > 50
