"""The losses' functions and layers against the reference, sample by sample, and beside PyTorch."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, dtype_of, normal
from cupys import emulated, real

import backstride
from backstride import kernels
from backstride.kernels.loss.cases import CROSS_ENTROPY, ELEMENT_LOSS
from backstride.layers import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss

FINITE = [case for case in CROSS_ENTROPY if 0 not in case.x]


def given(case, rng, dtype):
    """x, labels and the options with a weight for each class where the case asks for them."""
    axis, classes = case.options["axis"], case.x[case.options["axis"]]
    x = (4 * normal(rng, case.x, dtype)).astype(dtype_of(dtype))
    labels = rng.integers(0, classes, np.delete(case.x, axis))
    options = dict(case.options)
    if options.pop("weight", False):
        options["weight"] = (0.5 + np.abs(normal(rng, (classes,), dtype))).astype(dtype_of(dtype))
    return x, labels, options


def run(path, x, labels, weight=None, **options):
    """As path.run, with the weight among the arrays."""
    if weight is None:
        return path.run(kernels.cross_entropy, x, labels, **options)
    return path.run(
        lambda x, labels, weight: kernels.cross_entropy(x, labels, weight=weight, **options), x, labels, weight
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FINITE, ids=str)
def test_cross_entropy(path, case, dtype, rng):
    x, labels, options = given(case, rng, dtype)
    loss, dx = run(path, x, labels, **options)
    wide = {name: v.astype(np.float64) if name == "weight" else v for name, v in options.items()}
    exact, exact_dx = reference.cross_entropy(x.astype(np.float64), labels, **wide)
    assert loss.dtype == (np.float64 if dtype == "float64" else np.float32)
    # of a sum over a row and one over the rows; logits are at most some 30 apart, weights 10 to 1
    rows, classes = labels.size, case.x[case.options["axis"]]
    assert_accurate(loss, exact, np.asarray(40.0), rows + classes + 8)
    assert dx.dtype == x.dtype
    counted = max(1, (labels != options.get("ignore_index")).sum())
    assert_accurate(dx, exact_dx, np.full(x.shape, 30 / counted), rows + classes + 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mse", "bce_with_logits"])
def test_losses_of_elements(path, name, dtype, rng):
    for case in ELEMENT_LOSS:
        x, target = 3 * normal(rng, case.x, dtype), np.abs(normal(rng, case.x, dtype)) % 1
        arrays = [a.astype(dtype_of(dtype)) for a in (x, target)]
        x, target = (a.astype(np.float64) for a in arrays)
        loss, dx = path.run(getattr(kernels, name), *arrays)
        exact, exact_dx = getattr(reference, name)(x, target)
        assert loss.dtype == (np.float64 if dtype == "float64" else np.float32)
        if not x.size:
            assert np.isnan(loss)
            continue
        # a sum of so many terms, and an exponential, a logarithm and a division
        magnitude = np.square(x - target) if name == "mse" else np.abs(x) * (1 + target) + 1
        assert_accurate(loss, exact, np.asarray(magnitude.mean()), x.size + 8)
        assert_accurate(dx, exact_dx, (np.abs(x) * (name == "mse") + 1 + target) * 2 / x.size, 8)


def test_losses_of_arrays_of_any_strides(path, rng):
    x, target = rng.standard_normal((2, 6, 5, 8)).astype(np.float32)
    labels = rng.integers(0, 5, (8, 6))
    for view in (lambda a: a[::-1], lambda a: a.T, lambda a: a[:, 1:, ::3]):
        for name in ("mse", "bce_with_logits"):
            got = getattr(kernels, name)(view(path.asarray(x)), view(path.asarray(target)))
            expected = path.run(getattr(kernels, name), *(np.ascontiguousarray(view(a)) for a in (x, target)))
            assert got[1].flags.c_contiguous
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_array_equal(path.to_numpy(one), other)
    loss, dx = kernels.cross_entropy(path.asarray(x).T, path.asarray(labels.T).T)
    expected = path.run(kernels.cross_entropy, np.ascontiguousarray(x.T), labels)
    np.testing.assert_array_equal(path.to_numpy(loss), expected[0])
    np.testing.assert_array_equal(path.to_numpy(dx), expected[1])


def test_ignored_samples_have_no_part(path):
    x = np.array([[1, 2], [np.nan, np.inf], [3, 1]], np.float32)
    loss, dx = path.run(kernels.cross_entropy, x, np.array([0, -100, 1]), ignore_index=-100)
    expected = path.run(kernels.cross_entropy, x[::2], np.array([0, 1]))
    assert loss == pytest.approx(expected[0])
    np.testing.assert_allclose(dx[::2], expected[1], rtol=1e-6)
    np.testing.assert_array_equal(dx[1], [0, 0])
    loss, dx = path.run(kernels.cross_entropy, x, np.array([-100] * 3), ignore_index=-100)
    assert np.isnan(loss)  # the mean of nothing, as in PyTorch
    np.testing.assert_array_equal(dx, np.zeros((3, 2)))


def test_nothing_leaks_between_samples(path):
    x = np.array([[1, np.nan], [0, -np.inf], [5, 5]], np.float32)
    loss, dx = path.run(kernels.cross_entropy, x, np.array([0, 0, 1]))
    assert np.isnan(loss)
    np.testing.assert_array_equal(np.isnan(dx), [[True, True], [False, False], [False, False]])
    np.testing.assert_allclose(dx[1:], [[0, 0], [1 / 6, -1 / 6]], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"ignore_index": 5}, {"label_smoothing": 0.1}])
def test_a_label_out_of_range(options, rng):
    """On NumPy an error; on CuPy NaN for the loss and that sample."""
    x, labels = rng.standard_normal((3, 4)).astype(np.float32), np.array([0, 7, 2])
    with pytest.raises(ValueError, match=r"^cross_entropy: a label is 7; expected 0 to 3, for 4 classes"):
        kernels.cross_entropy(x, labels, **options)
    with emulator.installed() as cupy:
        loss, dx = kernels.cross_entropy(cupy.asarray(x), cupy.asarray(labels), **options)
        assert np.isnan(loss.get())
        np.testing.assert_array_equal(np.isnan(dx.get()).all(axis=1), [False, True, False])


def test_two_launches_or_four():
    with emulator.installed() as cupy, emulator.record_launches() as launches:
        x, labels = cupy.asarray(np.ones((9, 4), np.float32)), cupy.asarray(np.zeros(9, np.int64))
        kernels.cross_entropy(x, labels)
        kernels.cross_entropy(x, labels, ignore_index=2)
        kernels.mse(x, x)
    plain = ["cross_entropy", "loss_sum"]
    expected = [*plain, "label_weights", "loss_sum", *plain, "element_loss", "loss_sum"]
    assert [launch.name for launch in launches] == expected


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


def test_captured_losses_are_the_eager_ones(cupy, rng):
    loss = CrossEntropyLoss(label_smoothing=0.1, ignore_index=1, weight=np.array([1.0, 2, 3, 0.5]))

    def step(x, labels):
        return loss(x, labels), loss.backward()

    captured = backstride.capture(step)
    for _ in range(4):
        x, labels = cupy.asarray(rng.standard_normal((6, 4)).astype("f4")), cupy.asarray(rng.integers(0, 4, 6))
        for found, expected in zip(captured(x, labels), step(x, labels), strict=True):
            assert found.get().tobytes() == expected.get().tobytes()


def test_layers(rng):
    x, target = rng.standard_normal((2, 3, 4)), rng.uniform(0, 1, (3, 4))
    for layer, function in ((MSELoss(), kernels.mse), (BCEWithLogitsLoss(), kernels.bce_with_logits)):
        loss, dx = function(x[0], target)
        assert layer(x[0], target) == loss
        np.testing.assert_array_equal(layer.backward(), dx)
        with pytest.raises(RuntimeError, match=f"^{type(layer).__name__}: backward was called a second time"):
            layer.backward()
        assert repr(layer) == f"{type(layer).__name__}()"
    layer = CrossEntropyLoss(label_smoothing=0.2, ignore_index=0, weight=[1, 2, 3, 4])
    assert repr(layer) == "CrossEntropyLoss(label_smoothing=0.2, ignore_index=0, weight=...)"
    options = {"label_smoothing": 0.2, "ignore_index": 0, "weight": np.arange(1.0, 5)}
    exact, dx = reference.cross_entropy(x[0], np.array([1, 0, 3]), **options)
    assert layer(x[0], np.array([1, 0, 3])) == pytest.approx(exact, rel=1e-14)
    np.testing.assert_allclose(layer.backward(), dx, rtol=0, atol=1e-15)
    columns = CrossEntropyLoss(batch_axis=1, weight=np.array([1, 2, 3]))
    assert columns(x[0], np.array([0, 1, 2, 0])) == pytest.approx(
        kernels.cross_entropy(x[0].T, np.array([0, 1, 2, 0]), weight=np.array([1.0, 2, 3]))[0]
    )
    assert columns.backward().shape == (3, 4)


def test_f20_a_class_for_each_pixel(rng):
    x, labels = rng.standard_normal((2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    layer = CrossEntropyLoss()
    exact, dx = reference.cross_entropy(x, labels)
    assert layer(x, labels) == pytest.approx(exact, rel=1e-14)
    np.testing.assert_allclose(layer.backward(), dx, rtol=0, atol=1e-16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, n: kernels.cross_entropy(x, n, axis=2), "cross_entropy: axis is 2; expected an int from -2 to 1"),
        (lambda x, n: kernels.cross_entropy(x, n[:1]), r"cross_entropy: labels.shape is \(1,\); expected \(2,\), that"),
        (
            lambda x, n: kernels.cross_entropy(x, n, label_smoothing=2),
            "cross_entropy: label_smoothing is 2; expected a",
        ),
        (lambda x, n: kernels.cross_entropy(x, n, ignore_index=0.5), "cross_entropy: ignore_index is 0.5; expected No"),
        (
            lambda x, n: kernels.cross_entropy(x, n, weight=x[0, :2]),
            r"cross_entropy: weight.shape is \(2,\); expected ",
        ),
        (lambda x, n: kernels.cross_entropy(x[:, :0], n), r"cross_entropy: x.shape is \(2, 0\); expected at least one"),
        (
            lambda x, n: kernels.mse(x, x[:1]),
            r"mse: target.shape is \(1, 3\); expected \(2, 3\), that is",
        ),
        (lambda x, n: kernels.bce_with_logits(x, x[0]), r"bce_with_logits: target.shape is \(3,\); expected \(2, 3\)"),
        (
            lambda x, n: CrossEntropyLoss(label_smoothing="a"),
            "CrossEntropyLoss: label_smoothing is 'a'; expected a n",
        ),
        (lambda x, n: CrossEntropyLoss(ignore_index="a"), "CrossEntropyLoss: ignore_index is 'a'; expected None or an"),
        (
            lambda x, n: CrossEntropyLoss(weight=[1, 2])(x, n),
            r"CrossEntropyLoss: weight.shape is \(2,\); expected \(3",
        ),
        (
            lambda x, n: CrossEntropyLoss(batch_axis=1)(x[..., None], n),
            r"CrossEntropyLoss: logits.shape is \(2, 3",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(np.zeros((2, 3)), np.zeros(2, int))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_agrees(dtype, rng, torch):
    F, tolerance = torch.nn.functional, 100 * np.finfo(dtype).eps  # sums of some hundred terms of up to 20
    for number in range(40):
        shape = (*rng.integers(1, 7, 2), *rng.integers(1, 5, rng.integers(0, 3)))
        x, target = 4 * rng.standard_normal(shape).astype(dtype), rng.uniform(0, 1, shape).astype(dtype)
        labels = rng.integers(0, shape[1], np.delete(shape, 1))
        weight = rng.uniform(0.5, 2, shape[1]).astype(dtype) if number % 2 else None
        smoothing, ignored = float(rng.choice([0, 0.1])), int(rng.choice([-100, 0]))
        t = torch.from_numpy(x).requires_grad_()
        options = {"label_smoothing": smoothing, "ignore_index": ignored}
        theirs = {
            "cross_entropy": F.cross_entropy(
                t, torch.from_numpy(labels), None if weight is None else torch.from_numpy(weight), **options
            ),
            "mse": F.mse_loss(t, torch.from_numpy(target)),
            "bce_with_logits": F.binary_cross_entropy_with_logits(t, torch.from_numpy(target)),
        }
        ours = {
            "cross_entropy": kernels.cross_entropy(x, labels, weight=weight, **options),
            "mse": kernels.mse(x, target),
            "bce_with_logits": kernels.bce_with_logits(x, target),
        }
        for name, (loss, dx) in ours.items():
            np.testing.assert_allclose(loss, theirs[name].item(), rtol=tolerance, err_msg=name)
            gradient = torch.autograd.grad(theirs[name], t)[0].numpy()
            if np.isfinite(loss):  # where every label is ignored PyTorch's gradients are NaN, ours 0
                np.testing.assert_allclose(dx, gradient, rtol=0, atol=tolerance, err_msg=name)
