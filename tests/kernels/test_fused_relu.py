"""The ReLU that a convolution or a fully connected layer ends with: everywhere the bits of a separate call."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import assert_accurate, dtype_of, normal

from backstride import jit, kernels
from backstride.conformance import calls
from backstride.conformance.suite import all_cases, run
from backstride.kernels import FUNCTIONS
from backstride.kernels.cpu import threads

ENDED = [
    pytest.param(function, case, id=f"{function.name}-{case}")
    for function in FUNCTIONS.values()
    if function.operation.name in ("conv", "linear")
    for case in all_cases(function)
    if case.options.get("activation") == "relu"
]


def both(path, function, named):
    """What the function returns with its ReLU, and of separate calls."""
    compute, plain = getattr(kernels, function.name), {**named, "activation": None}
    fused = path.run(lambda *arrays: compute(**dict(zip(named, arrays, strict=True))), *named.values())
    first = path.run(lambda *arrays: compute(**dict(zip(plain, arrays, strict=True))), *plain.values())
    return fused, path.run(kernels.relu, first)


def named_arguments(function, case, dtype, draw):
    arguments = calls.call(function.operation, case, lambda each, geometry: draw(each.shape(geometry)).astype(dtype))
    return calls.public(function.operation, case, arguments)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("function", "case"), ENDED)
def test_bits_and_accuracy(path, function, case, dtype, rng):
    if path.name == "emulated" and dtype != "float32":
        pytest.skip("there it is a launch of relu, which test_activation tries for every dtype")
    named = named_arguments(function, case, dtype_of(dtype), lambda shape: normal(rng, shape, dtype))
    for some in (named, {**named, "b": None}):
        fused, separate = both(path, function, some)
        assert fused.tobytes() == separate.tobytes()
        wide = {name: a.astype(np.float64) if isinstance(a, np.ndarray) else a for name, a in some.items()}
        exact = getattr(reference, function.name)(**wide)
        sizes = {name: np.abs(a) if isinstance(a, np.ndarray) else a for name, a in wide.items()}
        assert_accurate(fused, exact, getattr(reference, function.name)(**sizes), named["w"][0].size)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("function", "case"), [each for each in ENDED if each.values[0].rank != 1 and 0 not in each.values[1].x]
)
def test_nan_infinities_and_zeros(path, function, case, dtype, rng):
    """Halves round -1e-8 to -0."""
    if path.name == "emulated" and function.rank:
        pytest.skip("one launch of relu is as good as another there")

    def draw(shape):
        values = [np.nan, np.inf, -np.inf, -0.0, 0.0, -1e-4, 1e-4, -3.0, 2.0]
        return rng.choice(values, shape, p=[0.01, 0.01, 0.01, 0.25, 0.25, 0.15, 0.15, 0.07, 0.1])

    named = named_arguments(function, case, dtype, draw)
    fused, separate = both(path, function, {**named, "w": np.nan_to_num(named["w"], posinf=1, neginf=1)})
    np.testing.assert_array_equal(fused, separate, strict=True)
    np.testing.assert_array_equal(np.signbit(fused[fused == 0]), np.signbit(separate[separate == 0]))
    assert not (fused < 0).any()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_further_calls_are_told_apart(path, layout, rng):
    """What is kept of a call, on CUDA its launches, is another with the ReLU, and is filled in anew."""
    x, w = rng.standard_normal((2, 3, 5, 4, 3), np.float32), rng.standard_normal((4, 2, 2, 3), np.float32)
    if layout == "NCHW":
        x, w = np.moveaxis(x, -1, 2), np.moveaxis(w, -1, 1)
    for images in x:
        ended, plain = (path.run(kernels.conv2d, images, w, activation=each, layout=layout) for each in ("relu", None))
        assert (plain < 0).any()
        np.testing.assert_array_equal(ended, np.maximum(plain, 0))


LARGE = {
    "conv2d": ((9, 24, 30, 31), (40, 24, 3, 3)),
    "conv2d of 1x1": ((9, 64, 30, 31), (40, 64, 1, 1)),
    "linear": ((300, 500), (520, 500)),
    "linear in columns": ((520, 500), (300, 500)),
}


@pytest.mark.skipif(threads._blas is None, reason="NumPy's BLAS is not OpenBLAS")
@pytest.mark.parametrize("compiled", [False, True] if jit.missing() is None else [False])
@pytest.mark.parametrize("name", LARGE)
def test_threads_change_no_bit(name, compiled, rng):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    x, w = (rng.standard_normal(shape, np.float32) for shape in LARGE[name])
    b, compute = rng.standard_normal(len(w), np.float32), getattr(kernels, name.split()[0])
    with jit.use_jit(compiled):
        expected = kernels.relu(compute(x, w, b)).tobytes()
        for count in (1, 2, 3):
            with limits(count, user_api="blas"):
                assert compute(x, w, b, activation="relu").tobytes() == expected


@pytest.mark.skipif(bool(jit.missing()), reason="no compiled loops here")
@pytest.mark.parametrize("module", ["correlate", "products"])
def test_a_relu_left_out_is_found(module, monkeypatch):
    """`backstride check` would say it."""
    monkeypatch.setattr(f"backstride.kernels.jit.{module}.kink_of", lambda activation, dtype: dtype.type(np.nan))
    chosen = {"dtypes": ["float32"], "operations": ["conv2d"], "cases": ["relu", "relu-1x1-many-pixels", "plain-3x3"]}
    with jit.use_jit(True):
        faults = {each.case for each in run("numpy", **chosen) if each.fault}
    assert faults == ({"relu"} if module == "correlate" else {"relu-1x1-many-pixels"})
