"""Normalisation on every path: values and gradients, fused forms, and data that spoils careless sums."""

from __future__ import annotations

import emulator
import hypothesis
import numpy as np
import pytest
import reference
from accuracy import DTYPES, dtype_of
from cupys import emulated
from hypothesis import strategies as st

from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.dtypes import accumulation_dtype
from backstride.kernels.layout import NCHW, NHWC, in_layout
from backstride.kernels.norm import words
from backstride.kernels.operation import Case, as_tuple

NORMS = [operation for operation in OPERATIONS.values() if operation.family.room == "norm"]
BATCH_NORMS = [operation for operation in NORMS if operation.family.name == "batch_norm"]
EVERY_CASE = [(operation, case) for operation in NORMS for case in operation.family.cases]
# one that every fused form is in, and one with several parts; the numbers of a channel do not fill whole words
FUSED = {"activation": "relu", "residual": True}
SMALL, IN_PARTS = (4, 3, 5, 3), (5, 2, 29, 31)
ONE_OF_EACH = {
    "batch_norm": Case("", SMALL, options=FUSED),
    "group_norm": Case("", (3, 6, 8), options={"num_groups": 3}),
    "layer_norm": Case("", (3, 4, 6), options={"normalized_shape": (4, 6)}),
}


def arguments(operation, case, dtype, rng):
    """By name, of the public function: normal numbers around 1, and what the forward operation makes of them."""
    make = calls.numbers(operation, lambda each, shape: (1 + rng.standard_normal(shape)).astype(dtype_of(dtype)))
    return calls.public(operation, case, calls.call(operation, case, make))


def wide(named):
    return {name: a.astype(np.float64) if isinstance(a, np.ndarray) else a for name, a in named.items()}


def run(path, operation, named):
    names = tuple(named)
    function = getattr(kernels, operation.name)
    return as_tuple(path.run(lambda *given: function(**dict(zip(names, given, strict=True))), *named.values()))


def assert_close(got, exact, dtype):
    """Sums of at most some thousand numbers, in orders of their own, of up to 30 times the largest result: 1e4
    roundings to half an eps; in 16 bits, where sums are float32's, also one of the result and one before the residual
    is added to it."""
    eps = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
    assert got.shape == exact.shape
    allowed = 1e3 * eps["float64" if dtype == "float64" else "float32"] * np.abs(exact).max(initial=1)
    if got.dtype.itemsize == 2:
        allowed = allowed + eps[dtype] * np.abs(exact).max(initial=1)
    np.testing.assert_array_less(np.abs(got.astype(np.float64) - exact), allowed)


@pytest.mark.parametrize(("operation", "case"), EVERY_CASE, ids=lambda each: each.name)
def test_values(path, operation, case, rng):
    named = arguments(operation, case, "float32", rng)
    expected = as_tuple(getattr(reference, operation.name)(**wide(named)))
    for got, exact in zip(run(path, operation, named), expected, strict=True):
        assert_close(got, exact, "float32")


@pytest.mark.parametrize("operation", BATCH_NORMS, ids=lambda each: each.name)
def test_many_short_planes(path, operation, rng):
    """More channels than compiled loops take at a time."""
    named = arguments(operation, Case("", (2, 1500, 3), options=FUSED), "float32", rng)
    expected = as_tuple(getattr(reference, operation.name)(**wide(named)))
    for got, exact in zip(run(path, operation, named), expected, strict=True):
        assert_close(got, exact, "float32")


WORDS = {
    "several-parts": Case("", (3, 29, 31, 48), options={"layout": NHWC}),
    "several-blocks": Case("", (2, 12, 11, 132), options={"layout": NHWC, "activation": "relu"}),
    "narrow-words": Case("", (5, 29, 31, 6), options={"layout": NHWC, **FUSED}),
    "single-channels": Case("", (2100, 5), options={"residual": True}),
}


@pytest.mark.emulated
@pytest.mark.parametrize(("case", "dtype"), list(zip(WORDS.values(), DTYPES, strict=True)), ids=WORDS)
@pytest.mark.parametrize("operation", BATCH_NORMS, ids=lambda each: each.name)
def test_values_by_words_of_channels(monkeypatch, operation, case, dtype, rng):
    """Kernels for matrices that are larger than those of other tests."""
    monkeypatch.setattr(words, "ENOUGH_ELEMENTS", 0)
    named = arguments(operation, case, dtype, rng)
    expected = as_tuple(getattr(reference, operation.name)(**wide(named)))
    with emulated(monkeypatch) as cupy, emulator.record_launches() as launches:
        given = {name: cupy.asarray(a) if isinstance(a, np.ndarray) else a for name, a in named.items()}
        results = as_tuple(getattr(kernels, operation.name)(**given))
        for got, exact in zip(results, expected, strict=True):
            assert_close(got.get(), exact, dtype)
    assert {each.name for each in launches} & {"word_normalise", "word_sums"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", NORMS, ids=lambda operation: operation.name)
def test_dtypes(path, operation, dtype, rng):
    named = arguments(operation, ONE_OF_EACH[operation.family.name], dtype, rng)
    expected = as_tuple(getattr(reference, operation.name)(**wide(named)))
    for got, exact in zip(run(path, operation, named), expected, strict=True):
        assert_close(got, exact, dtype)


@hypothesis.settings(max_examples=60)
@hypothesis.given(data=st.data())
def test_any_shape(data):
    n, c, *extents = data.draw(
        st.tuples(st.integers(0, 9), st.integers(1, 6)).flatmap(
            lambda nc: st.lists(st.integers(1, 7), max_size=3).map(lambda rest: (*nc, *rest))
        )
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    options = {
        "batch_norm": {
            "activation": data.draw(st.sampled_from([None, "relu"])),
            "residual": data.draw(st.booleans()),
            "layout": data.draw(st.sampled_from([NCHW, NHWC])),
        },
        "group_norm": {"num_groups": data.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))},
        "layer_norm": {"normalized_shape": (c, *extents)},
    }
    for operation in NORMS:
        given = options[operation.family.name]
        case = Case("", in_layout((n, c, *extents), given.get("layout") == NHWC), options=given)
        named = arguments(operation, case, "float64", rng)
        named["eps"] = data.draw(st.sampled_from([1e-5, 0.1]))
        expected = as_tuple(getattr(reference, operation.name)(**named))
        for got, exact in zip(as_tuple(getattr(kernels, operation.name)(**named)), expected, strict=True):
            assert_close(got, exact, "float64")


@pytest.mark.parametrize("gradients", [op for op in NORMS if op.name.endswith("grads")], ids=lambda op: op.name)
def test_finite_differences(gradients, rng):
    """Along a random direction in every argument at once; central differences of a smooth function err by step**2, and
    no output is so near to 0 that the step moves it over ReLU's bend."""
    named = arguments(gradients, ONE_OF_EACH[gradients.family.name], "float64", rng)
    case = ONE_OF_EACH[gradients.family.name]
    forward = getattr(kernels, gradients.name.removesuffix("_grads"))
    given = arguments(OPERATIONS[forward.__name__], case, "float64", rng)
    y, *statistics = as_tuple(forward(**given))
    saved = dict(zip(("mean", "var"), statistics or (given.get("mean"), given.get("var")), strict=True))
    known = {**given, **saved, "dy": named["dy"], **({"y": y, "residual": True} if "y" in named else {})}
    found = as_tuple(getattr(kernels, gradients.name)(**{name: known[name] for name in named}))
    moving = {
        name: rng.uniform(-1, 1, given[name].shape) for name in ("x", "gamma", "beta", "residual") if name in given
    }
    step = 1e-6

    def loss(sign):
        moved = {name: given[name] + sign * step * moving[name] if name in moving else given[name] for name in given}
        return float((named["dy"] * as_tuple(forward(**moved))[0]).sum())

    predicted = sum(float((g * moving[name]).sum()) for g, name in zip(found, moving, strict=True))
    assert (loss(1) - loss(-1)) / (2 * step) == pytest.approx(predicted, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [SMALL, IN_PARTS])
def test_fused_forms_have_the_bits_of_separate_calls(path, shape, dtype, rng):
    if path.name == "emulated" and dtype == "float64":
        pytest.skip("to the emulator it is what float32 is")
    x, residual, dy = (rng.standard_normal(shape).astype(dtype_of(dtype)) for _ in range(3))
    gamma, beta = rng.standard_normal((2, shape[1])).astype(accumulation_dtype(x.dtype))
    plain, mean, var = path.run(kernels.batch_norm, x, gamma, beta)

    for added in (None, residual):
        y, *statistics = path.run(
            lambda x, gamma, beta, *r: kernels.batch_norm(
                x, gamma, beta, activation="relu", residual=r[0] if r else None
            ),
            x,
            gamma,
            beta,
            *(() if added is None else (added,)),
        )
        expected = np.maximum(plain if added is None else plain + added, 0)
        assert y.tobytes() == expected.astype(y.dtype).tobytes()
        assert [a.tobytes() for a in statistics] == [mean.tobytes(), var.tobytes()]

        def fused(dy, x, gamma, mean, var, beta, y, grads=kernels.batch_norm_grads, added=added):
            return grads(dy, x, gamma, mean, var, activation="relu", residual=added is not None, beta=beta, y=y)

        masked = np.where(y > 0, dy, 0).astype(dy.dtype)
        for grads in (kernels.batch_norm_grads, kernels.batch_norm_inference_grads):
            found = path.run(lambda *a, grads=grads: fused(*a, grads=grads), dy, x, gamma, mean, var, beta, y)
            separate = path.run(grads, masked, x, gamma, mean, var)
            separate = separate if added is None else (*separate, masked)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in separate]


@pytest.mark.parametrize("dtype", DTYPES)
def test_inference_has_the_same_bits_on_every_path(path, dtype, rng):
    """Those of training where the statistics are training's."""
    x = rng.standard_normal(SMALL).astype(dtype_of(dtype))
    gamma, beta = rng.standard_normal((2, SMALL[1])).astype(accumulation_dtype(x.dtype))
    y, mean, var = path.run(kernels.batch_norm, x, gamma, beta)
    inference = path.run(kernels.batch_norm_inference, x, gamma, beta, mean, var)
    assert inference.tobytes() == y.tobytes()
    assert inference.tobytes() == kernels.batch_norm_inference(x, gamma, beta, mean, var).tobytes()


@pytest.mark.parametrize("shape", [(4, 2, 5, 3), IN_PARTS])
def test_a_large_mean_keeps_the_variance(path, shape, rng):
    """float32 has a thousandth between neighbours at 1e4: a mean that is wrong by as much errs by 1e-3 deviations. The
    second channel begins with a value that no other is near to."""
    x = (1e4 + rng.standard_normal(shape)).astype("f4")
    x[0, 1].flat[0] = 0
    y, mean, var = path.run(kernels.batch_norm, x)
    exact, exact_mean, exact_var = reference.batch_norm(x.astype("f8"))
    np.testing.assert_allclose(mean, exact_mean, rtol=2e-7)
    np.testing.assert_allclose(var, exact_var, rtol=1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-3)
    y, mean, var = path.run(kernels.layer_norm, x[:, :1].reshape(len(x), -1), x[0, 0].size)
    np.testing.assert_allclose(var, x[:, 0].reshape(len(x), -1).astype("f8").var(axis=1), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [SMALL, IN_PARTS])
def test_what_is_not_finite_stays_in_its_channel(path, shape, bad, rng):
    x = rng.standard_normal(shape).astype("f4")
    spoiled = x.copy()
    spoiled[1, 1].flat[3] = bad
    clean, found = path.run(kernels.batch_norm, x), path.run(kernels.batch_norm, spoiled)
    for got, expected in zip(found, clean, strict=True):
        got, expected = (
            np.moveaxis(got, -1 if got.ndim == 1 else 1, 0),
            np.moveaxis(expected, -1 if got.ndim == 1 else 1, 0),
        )
        assert got[0].tobytes() == expected[0].tobytes()
        assert not np.isfinite(got[1]).any()
    np.testing.assert_array_equal(found[1][1], bad)  # the mean as a sum has it
    dx, dgamma, dbeta = path.run(kernels.batch_norm_grads, np.ones_like(x), spoiled, None, *found[1:])
    assert np.isfinite(dx[:, 0]).all()
    assert np.isnan(dx[:, 1]).all()
    assert np.isfinite(dbeta).all()
    assert np.isnan(dgamma).tolist() == [False, True, *[False] * (shape[1] - 2)]


def test_what_is_not_finite_stays_in_its_group(path, rng):
    x = rng.standard_normal((3, 4, 5)).astype("f4")
    x[1, 3, 2] = np.nan
    y, mean, _ = path.run(kernels.group_norm, x, 2)
    assert np.isnan(mean).tolist() == [[False, False], [False, True], [False, False]]
    assert np.isnan(y).sum() == np.isnan(y[1, 2:]).sum() == 10
    y, mean, _ = path.run(kernels.layer_norm, x, 5)
    assert np.isnan(mean).sum() == 1
    assert np.isnan(y).sum() == np.isnan(y[1, 3]).sum() == 5


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_for_each_channel_gives_beta(path, shape, rng):
    x, (gamma, beta) = rng.standard_normal(shape).astype("f4"), rng.standard_normal((2, 3)).astype("f4")
    y, mean, var = path.run(kernels.batch_norm, x, gamma, beta)
    np.testing.assert_array_equal(y.ravel(), beta)
    np.testing.assert_array_equal(mean, x.ravel())
    np.testing.assert_array_equal(var, 0)
    dx, dgamma, dbeta = path.run(kernels.batch_norm_grads, x, x, gamma, mean, var)
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dgamma, 0)
    np.testing.assert_array_equal(dbeta, x.ravel())


def test_an_empty_batch(path):
    x = np.zeros((0, 3, 2, 2), "f4")
    y, mean, var = path.run(kernels.batch_norm, x)
    assert y.shape == x.shape
    assert not mean.any()
    assert not var.any()
    dx, dgamma, dbeta = path.run(kernels.batch_norm_grads, x, x, None, mean, var)
    assert dx.shape == x.shape
    assert not dgamma.any()
    assert not dbeta.any()
    _, dgamma, dbeta = path.run(
        kernels.layer_norm_grads, x, x, (2, 2), None, np.zeros((0, 3), "f4"), np.zeros((0, 3), "f4")
    )
    assert dgamma.shape == dbeta.shape == (2, 2)
    assert not dgamma.any()
    assert not dbeta.any()


def test_no_channels(path):
    y, mean, var = path.run(kernels.batch_norm, np.zeros((2, 0, 3), "f4"))
    assert (y.shape, mean.shape, var.shape) == ((2, 0, 3), (0,), (0,))


@pytest.mark.parametrize("operation", NORMS, ids=lambda operation: operation.name)
def test_without_gamma_and_beta(path, operation, rng):
    """As with ones and zeros, to the last bit."""
    case = ONE_OF_EACH[operation.family.name]
    named = arguments(operation, case, "float32", rng)
    fixed = {"gamma": np.ones, "beta": np.zeros}
    plain = {name: fixed[name](a.shape, a.dtype) if name in fixed else a for name, a in named.items()}
    bare = {name: None if name in fixed else a for name, a in named.items()}
    assert [a.tobytes() for a in run(path, operation, bare)] == [a.tobytes() for a in run(path, operation, plain)]


X, STATISTIC = np.zeros((2, 4, 3), "f4"), np.zeros(4, "f4")
WRONG = [
    (kernels.batch_norm, (X,), {"eps": -1}, ValueError, "batch_norm: eps is -1; expected a number >= 0"),
    (kernels.batch_norm, (X,), {"eps": "x"}, ValueError, "batch_norm: eps is 'x'; expected a number >= 0"),
    (kernels.batch_norm, (X,), {"eps": np.nan}, ValueError, "batch_norm: eps is nan; expected a number >= 0"),
    (kernels.batch_norm, (X,), {"activation": "gelu"}, ValueError, "activation is 'gelu'; expected None or 'relu'"),
    (kernels.batch_norm, (X[:, 0, 0],), {}, ValueError, r"x.shape is \(2,\); expected at least two axes \(N, C, \*X\)"),
    (kernels.batch_norm, (X[..., :0],), {}, ValueError, r"x.shape\[2\] is 0; expected at least 1"),
    (kernels.batch_norm, (X, STATISTIC), {}, ValueError, "beta is None; expected an array, as gamma is one"),
    (kernels.batch_norm, (X, None, STATISTIC), {}, ValueError, "gamma is None; expected an array, as beta is one"),
    (kernels.batch_norm, (X, STATISTIC[1:], STATISTIC), {}, ValueError, r"gamma.shape is \(3,\); expected \(4,\)"),
    (kernels.batch_norm, (X,), {"residual": X[:1]}, ValueError, r"residual.shape is \(1, 4, 3\); expected \(2, 4, 3\)"),
    (kernels.batch_norm, (X,), {"residual": X.astype("f8")}, TypeError, "residual.dtype is float64; expected float32"),
    (
        kernels.batch_norm,
        (X.astype("f2"), STATISTIC.astype("f2"), STATISTIC.astype("f2")),
        {},
        TypeError,
        "gamma.dtype is float16; expected float32 beside x of float16",
    ),
    (
        kernels.batch_norm_inference,
        (X, None, None, STATISTIC, STATISTIC.astype("f8")),
        {},
        TypeError,
        "var.dtype is float64; expected float32 beside x of float32",
    ),
    (kernels.batch_norm_inference, (X, None, None, None, STATISTIC), {}, TypeError, "mean is a NoneType; expected"),
    (
        kernels.batch_norm_grads,
        (X, X, None, STATISTIC, STATISTIC),
        {"activation": "relu"},
        ValueError,
        "batch_norm_grads: y is None; expected the output of the call whose gradients these are",
    ),
    (
        kernels.batch_norm_inference_grads,
        (X, X, STATISTIC, STATISTIC, STATISTIC),
        {"activation": "relu", "y": X},
        ValueError,
        "beta is None; expected an array, as gamma is one",
    ),
    (
        kernels.batch_norm_grads,
        (X, X, None, STATISTIC, STATISTIC),
        {"y": X},
        ValueError,
        "y is given; expected none without an activation",
    ),
    (
        kernels.batch_norm_grads,
        (X[:1], X, None, STATISTIC, STATISTIC),
        {},
        ValueError,
        r"dy.shape is \(1, 4, 3\); expected \(2, 4, 3\)",
    ),
    (kernels.group_norm, (X, 3), {}, ValueError, "group_norm: num_groups is 3; expected a divisor of C = 4"),
    (kernels.group_norm, (X, 0), {}, ValueError, "num_groups is 0; expected an int >= 1"),
    (
        kernels.group_norm_grads,
        (X, X, 2, None, STATISTIC, STATISTIC),
        {},
        ValueError,
        r"mean.shape is \(4,\); expected \(2, 2\)",
    ),
    (
        kernels.layer_norm,
        (X, 4),
        {},
        ValueError,
        r"x.shape is \(2, 4, 3\); expected normalized_shape \(4,\) as its last",
    ),
    (kernels.layer_norm, (X, ()), {}, ValueError, r"normalized_shape is \(\); expected at least one axis"),
    (kernels.layer_norm, (X, (4, 0)), {}, ValueError, "normalized_shape is 0; expected an int >= 1"),
    (kernels.layer_norm, (X, 3, STATISTIC), {}, ValueError, r"gamma.shape is \(4,\); expected \(3,\)"),
]


@pytest.mark.parametrize(("function", "given", "options", "kind", "message"), WRONG)
def test_errors(function, given, options, kind, message):
    with pytest.raises(kind, match=message):
        function(*given, **options)
