"""H14: a sum that overflows is infinite, one that underflows is 0, and 0/0 is NaN, whatever np.errstate says.

The same bits with every error of floating point raised as with all ignored, on the NumPy path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from accuracy import DTYPES, dtype_of

from backstride import optim
from backstride.conformance import calls
from backstride.kernels import OPERATIONS, dtypes
from backstride.kernels import operation as operations
from backstride.kernels.operation import Input, as_tuple
from backstride.layers import AvgPool2d, Conv2d, CrossEntropyLoss, Flatten, Linear, MaxPool2d, Parameter, ReLU


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, size: str) -> np.ndarray:
    """Near the largest number of the dtype, near the smallest, or with infinities and NaN among them."""
    signs = rng.choice([-1.0, 1.0], shape)
    if size == "infinite":
        return rng.choice([1.0, 0.0, np.inf, -np.inf, np.nan], shape).astype(dtype)
    edge = dtypes.finfo(dtype)
    magnitude = float(edge.max) * 0.9 if size == "huge" else float(edge.smallest_normal)
    with np.errstate(all="ignore"):
        return (signs * magnitude * rng.uniform(0.5, 1, shape)).astype(dtype)


def assert_same_when_errors_raise(compute: Callable[[], Any]) -> None:
    with np.errstate(all="ignore"):
        expected = as_tuple(compute())
    with np.errstate(all="raise"):
        found = as_tuple(compute())
    for e, f in zip(expected, found, strict=True):
        assert f.tobytes() == e.tobytes()


@pytest.mark.parametrize("size", ["huge", "tiny", "infinite"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_h14_operations(operation, dtype, size, rng):
    dtype = dtype_of(dtype)

    def make(each: Input, geometry: Any) -> np.ndarray:
        found = operations.dtype_of(each, geometry, dtype)
        shape = each.shape(geometry)
        return np.zeros(shape, found) if found.kind in "iu" else numbers(rng, shape, found, size)

    for case in operation.family.cases[:6]:
        given = calls.public(operation, case, calls.call(operation, case, make))
        assert_same_when_errors_raise(lambda given=given, case=case: calls.public_function(operation, case)(**given))


@pytest.mark.parametrize("size", ["huge", "tiny", "infinite"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_h14_layers(dtype, size, rng):
    dtype = dtype_of(dtype)
    x = numbers(rng, (3, 2, 3, 3), dtype, size)
    for layer in (
        Conv2d(2, 3, 2, dtype=dtype, rng=0),
        Conv2d(2, 3, 2, bias=False, dtype=dtype, rng=0),
        Linear(18, 4, dtype=dtype, rng=0),
        Linear(18, 4, batch_axis=1, dtype=dtype, rng=0),
        MaxPool2d(2),
        AvgPool2d(2),
        ReLU(),
        Flatten(),
    ):

        def twice(layer: Any = layer) -> Any:
            """The second backward adds to what may already be the largest number."""
            layer.zero_grad()
            for _ in range(2):
                y = layer(x)
                dx = layer.backward(numbers(np.random.default_rng(1), y.shape, dtype, size))
            return (y, dx, *(p.grad.copy() for p in layer.parameters()))

        assert_same_when_errors_raise(twice)


@pytest.mark.parametrize("size", ["huge", "tiny", "infinite"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_h14_loss(dtype, size, rng):
    logits, labels = numbers(rng, (6, 4), dtype_of(dtype), size), rng.integers(0, 4, 6)
    loss = CrossEntropyLoss()
    assert_same_when_errors_raise(lambda: (loss(logits, labels), loss.backward()))


@pytest.mark.parametrize("size", ["huge", "tiny", "infinite"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (optim.SGD, {}),
        (optim.SGD, {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
        (optim.Adam, {"weight_decay": 0.1}),
        (optim.Adam, {"eps": 0.0}),
        (optim.AdamW, {}),
    ],
)
def test_h14_optimizers(rule, options, dtype, size, rng):
    values, gradient = (numbers(rng, (4, 3), dtype_of(dtype), size) for _ in range(2))

    def two_steps() -> Any:
        parameter = Parameter(values.copy())
        optimizer = rule([parameter], lr=0.1, **options)
        for _ in range(2):
            parameter.grad = gradient.copy()
            optimizer.step()
        return (parameter.data, *optimizer.state_dict().values())

    assert_same_when_errors_raise(two_steps)
