"""The fully connected layer and its gradients against the reference, in both layouts."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, assert_exact, dtype_of, integers, normal
from gradcheck import assert_gradient

from backstride import kernels
from backstride.kernels.linear.cases import LINEAR
from backstride.kernels.operation import Case

pytestmark = pytest.mark.parametrize("batch_axis", [0, 1])


def data(case: Case, batch_axis: int, make) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(x, w, b, dy) in the layout of batch_axis."""
    samples, outputs = case.x[0], case.w[0]
    x, w, b, dy = make(case.x), make(case.w), make((outputs,)), make((samples, outputs))
    return (x, w, b, dy) if batch_axis == 0 else (x.T.copy(), w, b.reshape(-1, 1), dy.T.copy())


def answers(x, w, b, dy, batch_axis: int) -> dict[str, np.ndarray]:
    dx = reference.linear_input_grad(dy, w, batch_axis=batch_axis)
    dw = reference.linear_weight_grad(dy, x, batch_axis=batch_axis)
    db = reference.linear_bias_grad(dy, batch_axis=batch_axis)
    return {
        "y": reference.linear(x, w, b, batch_axis=batch_axis),
        **{"dx": dx, "dw": dw, "db": db},
        **{"dw beside db": dw, "db beside dw": db},
        **{"dx of all": dx, "dw of all": dw, "db of all": db},
    }


def compute(path, dtype: np.dtype, x, w, b, dy, batch_axis: int) -> dict[str, np.ndarray]:
    x, w, b, dy = (a.astype(dtype) for a in (x, w, b, dy))
    fused_dw, fused_db = path.run(kernels.linear_parameter_grads, dy, x, batch_axis=batch_axis)
    all_grads = path.run(kernels.linear_grads, dy, x, w, batch_axis=batch_axis)
    return {
        "y": path.run(kernels.linear, x, w, b, batch_axis=batch_axis),
        "dx": path.run(kernels.linear_input_grad, dy, w, batch_axis=batch_axis),
        "dw": path.run(kernels.linear_weight_grad, dy, x, batch_axis=batch_axis),
        "db": path.run(kernels.linear_bias_grad, dy, batch_axis=batch_axis),
        "dw beside db": fused_dw,
        "db beside dw": fused_db,
        **dict(zip(("dx of all", "dw of all", "db of all"), all_grads, strict=True)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_accuracy(path, case, dtype, batch_axis, rng):
    arrays = data(case, batch_axis, lambda shape: normal(rng, shape, dtype))
    exact, magnitudes = answers(*arrays, batch_axis), answers(*map(np.abs, arrays), batch_axis)
    terms = {"y": case.x[1], "dx": case.w[0], "dw": case.x[0], "db": case.x[0]}
    for name, got in compute(path, dtype_of(dtype), *arrays, batch_axis).items():
        assert got.dtype == dtype_of(dtype)
        assert_accurate(got, exact[name], magnitudes[name], terms[name[:2].strip()])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_integers_are_exact(path, case, dtype, batch_axis, rng):
    arrays = data(case, batch_axis, lambda shape: integers(rng, shape))
    exact = answers(*arrays, batch_axis)
    for name, got in compute(path, dtype_of(dtype), *arrays, batch_axis).items():
        assert_exact(got, exact[name])


@pytest.mark.parametrize("case", [c for c in LINEAR if 0 not in c.x], ids=str)
def test_gradients_predict_differences(path, case, batch_axis, rng):
    x, w, b, dy = data(case, batch_axis, rng.standard_normal)
    results = compute(path, np.dtype(np.float64), x, w, b, dy, batch_axis)

    def forward(x=x, w=w, b=b):
        return path.run(kernels.linear, x, w, b, batch_axis=batch_axis)

    assert_gradient(lambda x: forward(x=x), x, dy, results["dx"], rng)
    assert_gradient(lambda w: forward(w=w), w, dy, results["dw"], rng)
    assert_gradient(lambda b: forward(b=b), b, dy, results["db"], rng)


def test_no_bias(path, batch_axis, rng):
    x, w, _, _ = data(LINEAR[0], batch_axis, lambda shape: integers(rng, shape))
    assert_exact(path.run(kernels.linear, x, w, batch_axis=batch_axis), reference.linear(x, w, batch_axis=batch_axis))


def test_bias_shape_of_the_gradient(path, batch_axis):
    dy = np.ones((4, 3) if batch_axis == 0 else (3, 4))
    db = path.run(kernels.linear_bias_grad, dy, batch_axis=batch_axis)
    np.testing.assert_array_equal(db, np.full((3,) if batch_axis == 0 else (3, 1), 4.0), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_gradient_beside_split_weight_gradient(path, batch_axis, dtype, rng):
    """Of 3360 samples the k axis is split: both results are sums of parts, and dw is the one computed alone."""
    case = Case("many samples", (3360, 9), (37, 9))
    x, _, _, dy = data(case, batch_axis, lambda shape: integers(rng, shape).astype(dtype_of(dtype)))
    with emulator.record_launches() as launches:
        dw, db = path.run(kernels.linear_parameter_grads, dy, x, batch_axis=batch_axis)
    if path.name == "emulated":
        assert [launch.name for launch in launches] == ["linear", "split_sum", "split_sum"]
    assert_exact(db, reference.linear_bias_grad(dy.astype(np.float64), batch_axis=batch_axis))
    np.testing.assert_array_equal(dw, path.run(kernels.linear_weight_grad, dy, x, batch_axis=batch_axis))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_sample_stays_in_its_sample(path, batch_axis, value, rng):
    x, w, b, _ = data(LINEAR[0], batch_axis, lambda shape: np.abs(rng.standard_normal(shape)) + 1)
    sample = (3, slice(None)) if batch_axis == 0 else (slice(None), 3)
    x[sample] = value
    y = path.run(kernels.linear, x, w, b, batch_axis=batch_axis)
    np.testing.assert_array_equal(y[sample], np.full(len(w), value))
    y[sample] = 0
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(9000, 700, 1), (1, 700, 9000), (1300, 9, 1300)], ids=str)
def test_bias_of_a_product_in_parts(path, batch_axis, dtype, shape, rng):
    """However the result is cut, also where it has one row or column, every part adds its own part of the bias."""
    if path.name == "emulated":
        pytest.skip("the emulator would take minutes")
    samples, inputs, outputs = shape
    case = Case("in parts", (samples, inputs), (outputs, inputs))
    x, w, b, _ = data(case, batch_axis, lambda extents: integers(rng, extents).astype(dtype_of(dtype)))
    y = path.run(kernels.linear, x * 0, w, b, batch_axis=batch_axis)
    np.testing.assert_array_equal(y, np.broadcast_to(b, y.shape))
