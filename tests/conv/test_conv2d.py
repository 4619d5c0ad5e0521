"""Convolution, its gradients and its transpose against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, assert_exact, dtype_of, integers, normal
from gradcheck import assert_gradient

from backstride import kernels
from backstride.kernels.conv.cases import CONV, CONV_LARGE, CONV_TRANSPOSE
from backstride.kernels.operation import Case


@dataclass(frozen=True)
class Problem:
    """Data of one convolution with all its exact answers; `magnitudes` are the answers for |x|, |w|, |b|, |dy|."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray
    exact: dict[str, np.ndarray]
    magnitudes: dict[str, np.ndarray]


def answers(case: Case, x: np.ndarray, w: np.ndarray, b: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    dx = reference.conv2d_input_grad(dy, w, case.x, **case.options)
    dw, db = reference.conv2d_weight_grad(dy, x, case.w, **case.options), reference.conv2d_bias_grad(dy)
    return {
        "y": reference.conv2d(x, w, b, **case.options),
        **{"dx": dx, "dw": dw, "db": db},
        **{"dw beside db": dw, "db beside dw": db},
        **{"dx of all": dx, "dw of all": dw, "db of all": db},
    }


@cache
def floats(case_name: str, kind: str) -> Problem:
    case = next(c for c in CONV + CONV_LARGE if c.name == case_name)
    rng = np.random.default_rng(7)
    x, w, b = (normal(rng, shape, kind) for shape in (case.x, case.w, case.w[:1]))
    y_shape = reference.conv2d(np.zeros((0, *case.x[1:])), w, **case.options).shape[1:]
    dy = normal(rng, (case.x[0], *y_shape), kind)
    data = x, w, b, dy
    return Problem(*data, answers(case, *data), answers(case, *map(np.abs, data)))


def problem(case: Case, dtype: str) -> Problem:
    return floats(case.name, "float32" if dtype in ("float64", "float32") else "float16")


def terms(case: Case, result: str, problem: Problem) -> int:
    """How many products one element of a result adds up, at most."""
    n, k, p, q = problem.dy.shape
    window = case.w[2] * case.w[3]
    return {
        "y": case.w[1] * window,
        "dx": k // case.options.get("groups", 1) * window,
        "dw": n * p * q,
        "db": n * p * q,
    }[result[:2].strip()]


def compute(path, case: Case, dtype: np.dtype, x, w, b, dy) -> dict[str, np.ndarray]:
    x, w, b, dy = (a.astype(dtype) for a in (x, w, b, dy))
    fused_dw, fused_db = path.run(kernels.conv2d_parameter_grads, dy, x, case.w, **case.options)
    all_grads = path.run(kernels.conv2d_grads, dy, x, w, **case.options)
    return {
        "y": path.run(kernels.conv2d, x, w, b, **case.options),
        "dx": path.run(kernels.conv2d_input_grad, dy, w, case.x, **case.options),
        "dw": path.run(kernels.conv2d_weight_grad, dy, x, case.w, **case.options),
        "db": path.run(kernels.conv2d_bias_grad, dy),
        "dw beside db": fused_dw,
        "db beside dw": fused_db,
        **dict(zip(("dx of all", "dw of all", "db of all"), all_grads, strict=True)),
    }


def skip_if_too_large(path, channels: int) -> None:
    if path.name == "emulated" and channels > 8:
        pytest.skip("too large for an emulator")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONV, ids=str)
def test_accuracy(path, case, dtype):
    data = problem(case, dtype)
    results = compute(path, case, dtype_of(dtype), data.x, data.w, data.b, data.dy)
    for name, got in results.items():
        assert got.dtype == dtype_of(dtype)
        assert_accurate(got, data.exact[name], data.magnitudes[name], terms(case, name, data))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("case", CONV_LARGE, ids=str)
def test_accuracy_large(path, case, dtype):
    skip_if_too_large(path, max(case.x[1], case.w[0]))
    test_accuracy(path, case, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONV, ids=str)
def test_integers_are_exact(path, case, dtype, rng):
    x, w, b = (integers(rng, shape) for shape in (case.x, case.w, case.w[:1]))
    y = reference.conv2d(x, w, b, **case.options)
    dy = integers(rng, y.shape)
    exact = answers(case, x, w, b, dy)
    for name, got in compute(path, case, dtype_of(dtype), x, w, b, dy).items():
        assert_exact(got, exact[name])


@pytest.mark.parametrize("case", [c for c in CONV if 0 not in c.x], ids=str)
def test_gradients_predict_differences(path, case, rng):
    data = problem(case, "float64")
    x, w, b, dy = data.x, data.w, data.b, data.dy
    results = compute(path, case, np.dtype(np.float64), x, w, b, dy)

    def forward(x=x, w=w, b=b):
        return path.run(kernels.conv2d, x, w, b, **case.options)

    assert_gradient(lambda x: forward(x=x), x, dy, results["dx"], rng)
    assert_gradient(lambda w: forward(w=w), w, dy, results["dw"], rng)
    assert_gradient(lambda b: forward(b=b), b, dy, results["db"].reshape(-1), rng)


def test_bias_column_is_the_same_bias(path, rng):
    x, w, b = (rng.standard_normal(shape) for shape in ((2, 3, 5, 6), (4, 3, 3, 3), (4,)))
    row = path.run(kernels.conv2d, x, w, b)
    column = path.run(kernels.conv2d, x, w, b.reshape(4, 1, 1))
    np.testing.assert_array_equal(row, column)


def test_no_bias(path, rng):
    x, w = integers(rng, (2, 3, 5, 6)), integers(rng, (4, 3, 3, 3))
    assert_exact(path.run(kernels.conv2d, x, w), reference.conv2d(x, w))


def test_no_input_channels_leave_the_bias(path):
    x, w, b = np.zeros((2, 0, 5, 4)), np.zeros((3, 0, 2, 2)), np.array([1.0, -2.0, 3.0])
    y = path.run(kernels.conv2d, x, w, b)
    np.testing.assert_array_equal(y, np.broadcast_to(b.reshape(1, 3, 1, 1), (2, 3, 4, 3)))


def test_elements_no_window_reaches_get_zero(path, rng):
    """Stride 3 with a 2x2 kernel on 7x9: rows 2 and 5 and columns 2, 5 and 8 are read by no window."""
    w, dy = rng.standard_normal((2, 1, 2, 2)), rng.standard_normal((2, 2, 2, 3))
    dx = path.run(kernels.conv2d_input_grad, dy, w, (2, 1, 7, 9), stride=3)
    read = np.zeros((7, 9), bool)
    read[np.ix_([0, 1, 3, 4], [0, 1, 3, 4, 6, 7])] = True
    assert (dx[:, :, ~read] == 0).all()
    assert (dx[:, :, read] != 0).all()


NON_FINITE = pytest.mark.parametrize(
    ("channels", "extents"), [(3, (7, 6)), (40, (33, 38))], ids=["small", "large enough for a transform"]
)


@NON_FINITE
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_non_finite_input_reaches_exactly_its_windows(path, rng, value, dtype, channels, extents):
    skip_if_too_large(path, channels)
    x, w = normal(rng, (2, channels, *extents), dtype), np.abs(normal(rng, (channels, channels, 3, 3), dtype)) + 1
    x[1, 1, 3, 2] = value
    y = path.run(kernels.conv2d, x.astype(dtype), w.astype(dtype), padding=1)
    touched = np.zeros(y.shape, bool)
    touched[1, :, 2:5, 1:4] = True
    np.testing.assert_array_equal(y[touched], np.full(touched.sum(), value, dtype))
    assert np.isfinite(y[~touched]).all()


@NON_FINITE
def test_non_finite_gradient_reaches_exactly_its_window(path, rng, channels, extents):
    skip_if_too_large(path, channels)
    x_shape = (2, channels, *extents)
    dy = rng.standard_normal((2, channels, extents[0] - 2, extents[1] - 2), np.float32)
    w = np.abs(rng.standard_normal((channels, channels, 3, 3), np.float32)) + 1
    dy[0, 1, 2, 1] = np.inf
    dx = path.run(kernels.conv2d_input_grad, dy, w, x_shape)
    touched = np.zeros(x_shape, bool)
    touched[0, :, 2:5, 1:4] = True
    assert (dx[touched] == np.inf).all()
    assert np.isfinite(dx[~touched]).all()


@NON_FINITE
def test_non_finite_input_reaches_exactly_its_weights(path, rng, channels, extents):
    """Without padding, the element at (0, 0) meets tap (0, 0) alone."""
    skip_if_too_large(path, channels)
    x = rng.standard_normal((2, channels, *extents), np.float32)
    dy = np.abs(rng.standard_normal((2, channels, extents[0] - 2, extents[1] - 2), np.float32)) + 1
    x[1, 2, 0, 0] = np.inf
    dw = path.run(kernels.conv2d_weight_grad, dy, x, (channels, channels, 3, 3))
    touched = np.zeros(dw.shape, bool)
    touched[:, 2, 0, 0] = True
    assert (dw[touched] == np.inf).all()
    assert np.isfinite(dw[~touched]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_non_finite_gradient_reaches_exactly_its_bias(path, rng, value, dtype):
    x, dy = (normal(rng, shape, dtype).astype(dtype) for shape in ((2, 3, 7, 6), (2, 5, 5, 4)))
    dy[1, 2, 3, 1] = value
    dw, db = path.run(kernels.conv2d_parameter_grads, dy, np.abs(x) + np.ones((), dtype), (5, 3, 3, 3))
    np.testing.assert_array_equal(db[2].item(), value)
    np.testing.assert_array_equal(dw[2], np.full((3, 3, 3), value, dtype))
    assert np.isfinite(np.delete(dw, 2, axis=0)).all()
    assert np.isfinite(np.delete(db, 2, axis=0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1)], ids=["window", "pointwise"])
def test_bias_gradient_beside_split_weight_gradient(path, rng, dtype, kernel):
    """Of thousands of pixels the k axis is split: both results are sums of parts, and dw is the one computed alone."""
    x, w_shape = integers(rng, (20, 6, 17, 12)).astype(dtype_of(dtype)), (38, 3, *kernel)
    dy = integers(rng, (20, 38, 18 - kernel[0], 13 - kernel[1])).astype(dtype_of(dtype))
    with emulator.record_launches() as launches:
        dw, db = path.run(kernels.conv2d_parameter_grads, dy, x, w_shape, groups=2)
    if path.name == "emulated":
        assert [launch.name for launch in launches] == ["conv_weight_grad", "split_sum", "split_sum"]
    assert_exact(db, reference.conv2d_bias_grad(dy.astype(np.float64)))
    np.testing.assert_array_equal(dw, path.run(kernels.conv2d_weight_grad, dy, x, w_shape, groups=2))


def test_no_input_channels_leave_the_bias_gradient(path, rng):
    x, dy = np.zeros((2, 0, 5, 4)), integers(rng, (2, 3, 4, 3))
    dw, db = path.run(kernels.conv2d_parameter_grads, dy, x, (3, 0, 2, 2))
    assert dw.shape == (3, 0, 2, 2)
    assert_exact(db, reference.conv2d_bias_grad(dy))


def test_overflow_rounds_to_infinity_once(path):
    """60000 + 60000 - 60000 stays finite in float16 because only the sum is rounded."""
    x, w = np.array([[[[60000, 60000, -60000]]]], np.float16), np.ones((1, 1, 1, 3), np.float16)
    assert path.run(kernels.conv2d, x, w).item() == 60000
    assert path.run(kernels.conv2d, x, w[..., :2]).max() == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONV_TRANSPOSE, ids=str)
def test_transpose(path, case, dtype, rng):
    k = case.w[1] * case.options.get("groups", 1)
    x, w, b = (normal(rng, shape, dtype) for shape in (case.x, case.w, (k,)))
    got = path.run(kernels.conv_transpose2d, *(a.astype(dtype_of(dtype)) for a in (x, w, b)), **case.options)
    assert got.dtype == dtype_of(dtype)
    exact = reference.conv_transpose2d(x, w, b, **case.options)
    magnitude = reference.conv_transpose2d(*map(np.abs, (x, w, b)), **case.options)
    assert_accurate(got, exact, magnitude, case.x[1] * case.w[2] * case.w[3])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONV_TRANSPOSE, ids=str)
def test_transpose_integers_are_exact(path, case, dtype, rng):
    x, w = integers(rng, case.x), integers(rng, case.w)
    got = path.run(kernels.conv_transpose2d, x.astype(dtype_of(dtype)), w.astype(dtype_of(dtype)), **case.options)
    assert_exact(got, reference.conv_transpose2d(x, w, **case.options))


def test_transpose_is_the_adjoint(path, rng):
    """<conv2d(x), y> = <x, conv_transpose2d(y)>, the definition of a transpose."""
    options = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}
    x, w = integers(rng, (2, 4, 13, 14)), integers(rng, (6, 2, 3, 4))
    y = path.run(kernels.conv2d, x, w, **options)
    other = integers(rng, y.shape)
    back = path.run(kernels.conv_transpose2d, other, w, output_padding=(0, 2), **options)
    assert back.shape == x.shape
    assert (y * other).sum() == (x * back).sum()
