"""CrossEntropyLoss against the formula in exact or long arithmetic, and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from accuracy import dtype_of

from backstride.layers import CrossEntropyLoss


def by_formula(logits, labels):
    """The mean of log(sum(exp(row))) - row[label], sample by sample."""
    return math.fsum(
        math.log(math.fsum(math.exp(v - max(row)) for v in row)) + max(row) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ) / len(labels)


@pytest.mark.parametrize("batch_axis", [0, 1])
@pytest.mark.parametrize("label_dtype", [np.int64, np.uint8, np.int32])
def test_value_and_gradient(batch_axis, label_dtype, rng):
    logits = 3 * rng.standard_normal((7, 5))
    labels = rng.integers(0, 5, 7).astype(label_dtype)
    loss = CrossEntropyLoss(batch_axis=batch_axis)
    given = logits if batch_axis == 0 else logits.T
    before = given.copy()
    value = loss(given, labels)
    assert isinstance(value, np.ndarray)
    assert value.shape == ()
    # a handful of roundings of float64 (2.2e-16) on numbers of about 1
    assert float(value) == pytest.approx(by_formula(logits, labels), rel=1e-14)
    dlogits = loss.backward()
    assert dlogits.shape == given.shape
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = (softmax - np.eye(5)[labels]) / 7
    np.testing.assert_allclose(dlogits if batch_axis == 0 else dlogits.T, expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(given, before)


def test_gradient_predicts_the_change(rng):
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    loss, step = CrossEntropyLoss(), 1e-4
    loss(logits, labels)
    gradient, direction = loss.backward(), rng.standard_normal(logits.shape)
    measured = (loss(logits + step * direction, labels) - loss(logits - step * direction, labels)) / (2 * step)
    # central differences err by step**2/6 of the third derivative (some 1), and by rounding over step: 1e-12
    assert float(measured) == pytest.approx(float((gradient * direction).sum()), abs=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_huge_logits(dtype):
    largest = 60000.0 if dtype == "float16" else 1e37
    logits = np.array([[largest, 0, -largest], [-largest, 0, largest], [0, 0, 0]]).astype(dtype_of(dtype))
    loss = CrossEntropyLoss()
    value = loss(logits, np.array([0, 2, 1]))
    assert value.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert float(value) == pytest.approx(math.log(3) / 3, rel=1e-6)  # float32's rounding is 6e-8
    dlogits = loss.backward()
    assert dlogits.dtype == logits.dtype
    expected = np.array([[0, 0, 0], [0, 0, 0], [1 / 9, -2 / 9, 1 / 9]])
    np.testing.assert_allclose(dlogits.astype(float), expected, rtol=2**-8, atol=0)  # bfloat16 has 8 bits
    loss(logits, np.array([2, 2, 1]))  # a hopeless sample: its loss is the difference of the logits
    assert np.isfinite(loss.backward().astype(float)).all()


def test_a_class_ruled_out_by_minus_infinity():
    loss = CrossEntropyLoss()
    assert float(loss(np.array([[0.0, -np.inf, 0.0]]), np.array([0]))) == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_allclose(loss.backward(), [[-0.5, 0, 0.5]], rtol=1e-15)
    assert float(loss(np.array([[0.0, -np.inf]]), np.array([1]))) == np.inf


def test_nan_shows():
    loss = CrossEntropyLoss()
    assert np.isnan(loss(np.array([[np.nan, 0.0], [0.0, 0.0]]), np.array([0, 0])))
    dlogits = loss.backward()
    assert np.isnan(dlogits[0]).all()
    assert np.isfinite(dlogits[1]).all()


def test_empty_batch():
    loss = CrossEntropyLoss()
    assert np.isnan(loss(np.zeros((0, 3)), np.zeros(0, int)))  # the mean of nothing, as in PyTorch
    assert loss.backward().shape == (0, 3)


def test_one_class_costs_nothing():
    loss = CrossEntropyLoss()
    assert loss(np.array([[5.0], [-2.0]]), np.array([0, 0])) == 0
    assert not loss.backward().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_agrees(dtype, rng, torch):
    logits = (10 * rng.standard_normal((33, 11))).astype(dtype)
    labels = rng.integers(0, 11, 33)
    theirs = torch.from_numpy(logits).requires_grad_()
    expected = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels))
    expected.backward()
    loss = CrossEntropyLoss()
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(loss(logits, labels), expected.detach(), rtol=20 * eps)  # log, exp and two sums
    np.testing.assert_allclose(loss.backward(), theirs.grad, rtol=0, atol=20 * eps)


@pytest.mark.parametrize(
    ("logits", "labels", "kind", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), ValueError, "a label is 3; expected 0 to 2, for 3 classes"),
        (np.zeros((2, 3)), np.array([-1, 0]), ValueError, "a label is -1; expected 0 to 2"),
        (np.zeros((2, 300)), np.array([2**63 + 1, 0], np.uint64), ValueError, "a label is"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), TypeError, "labels.dtype is float64; expected an integer dtype"),
        (np.zeros((2, 3)), np.array([True, False]), TypeError, "labels.dtype is bool"),
        (np.zeros((2, 3)), np.array([0, 1, 2]), ValueError, r"labels.shape is \(3,\); expected \(2,\)"),
        (np.zeros((2, 3)), np.array([[0], [1]]), ValueError, r"labels.shape is \(2, 1\)"),
        (np.zeros((2, 3)), [0, 1], TypeError, "labels is a list"),
        (np.zeros(3), np.array([0]), ValueError, r"logits.shape is \(3,\); expected two axes \(N, O\)"),
        (np.zeros((2, 0)), np.array([0, 0]), ValueError, "expected at least one class"),
        (np.zeros((2, 3), int), np.array([0, 0]), TypeError, "logits.dtype is int64"),
    ],
)
def test_bad_arguments(logits, labels, kind, message):
    with pytest.raises(kind, match=message):
        CrossEntropyLoss()(logits, labels)


def test_f16_one_backward_for_each_forward():
    loss, logits, labels = CrossEntropyLoss(), np.array([[1.0, 2.0]]), np.array([0])
    loss(logits, labels)
    first = loss.backward()
    with pytest.raises(RuntimeError, match="CrossEntropyLoss: backward was called a second time"):
        loss.backward()
    loss(logits, labels)
    np.testing.assert_array_equal(loss.backward(), first)


def test_bad_uses():
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        CrossEntropyLoss().backward()
    with pytest.raises(ValueError, match="batch_axis is 2"):
        CrossEntropyLoss(batch_axis=2)
