"""W5: masked arrays are refused wherever arrays are taken, and no other subclass of numpy.ndarray brings its own
operators into a result. On the NumPy path, the only one that such arrays reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backstride
from backstride import kernels, optim
from backstride.conformance import calls
from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS
from backstride.kernels.operation import Function, Input, as_tuple, dtype_of
from backstride.layers import AvgPool2d, Conv2d, CrossEntropyLoss, Flatten, Linear, MaxPool2d, Parameter, ReLU


class Stubborn(np.ndarray):
    """Every operator and function of it is wrong, and says so."""

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a ufunc of the subclass was called")

    def __array_function__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a function of the subclass was called")

    def sum(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a method of the subclass was called")


def stubborn(array: np.ndarray) -> np.ndarray:
    return array.view(Stubborn)


def matrix(array: np.ndarray) -> np.ndarray:
    return array.view(np.matrix) if array.ndim == 2 else array


def masked(array: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(array, array > 0)


def arguments(function: Function, rng: np.random.Generator) -> dict[str, Any]:
    """Of the public function, on its first case."""
    operation, case = function.operation, all_cases(function)[0]

    def make(each: Input, geometry: Any) -> np.ndarray:
        shape, dtype = each.shape(geometry), dtype_of(each, geometry, np.dtype(np.float32))
        if dtype.kind in "iu":
            return np.zeros(shape, dtype)  # the first tap
        return rng.standard_normal(shape).astype(dtype)

    return calls.public(operation, case, calls.call(operation, case, make))


@pytest.mark.parametrize("subclass", [stubborn, matrix])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_w5_operations_take_subclasses_for_what_they_hold(name, subclass, rng):
    function, given = getattr(kernels, name), arguments(FUNCTIONS[name], rng)
    wrapped = {name: subclass(a) if isinstance(a, np.ndarray) else a for name, a in given.items()}
    expected, found = as_tuple(function(**given)), as_tuple(function(**wrapped))
    for e, f in zip(expected, found, strict=True):
        assert type(f) is np.ndarray
        assert f.tobytes() == e.tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_w5_operations_refuse_masked_arrays(name, rng):
    function, given = getattr(kernels, name), arguments(FUNCTIONS[name], rng)
    for argument in (name for name, a in given.items() if isinstance(a, np.ndarray)):
        with pytest.raises(TypeError, match=f"{name}: {argument} is a MaskedArray; expected a numpy.ndarray or"):
            function(**{**given, argument: masked(given[argument])})
    arrays = {name: masked(a) if isinstance(a, np.ndarray) else a for name, a in given.items()}
    with pytest.raises(TypeError, match="MaskedArray"):
        function(**arrays)


LAYERS = [Conv2d(2, 3, 2, rng=0), MaxPool2d(2), AvgPool2d(2), Linear(18, 4, rng=0), ReLU(), Flatten()]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_w5_layers(layer, rng):
    x = rng.standard_normal((2, 2, 3, 3)).astype(np.float32)
    y = layer(x)
    dx = layer.backward(y)
    found = layer(stubborn(x))
    found_dx = layer.backward(stubborn(y))
    assert type(found) is type(found_dx) is np.ndarray
    assert (found.tobytes(), found_dx.tobytes()) == (y.tobytes(), dx.tobytes())
    assert {type(p.grad) for p in layer.parameters()} <= {np.ndarray}
    with pytest.raises(TypeError, match="x is a MaskedArray"):
        layer(masked(x))
    layer(x)
    with pytest.raises(TypeError, match="dy is a MaskedArray"):
        layer.backward(masked(y))


def test_w5_loss(rng):
    logits, labels = rng.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    loss = CrossEntropyLoss()
    expected, gradient = loss(logits, labels), loss.backward()
    for subclass in (stubborn, matrix):
        value = loss(subclass(logits), stubborn(labels))
        found = loss.backward()
        assert type(value) is type(found) is np.ndarray
        assert (value.tobytes(), found.tobytes()) == (expected.tobytes(), gradient.tobytes())
    with pytest.raises(TypeError, match="CrossEntropyLoss: logits is a MaskedArray"):
        loss(masked(logits), labels)
    with pytest.raises(TypeError, match="CrossEntropyLoss: labels is a MaskedArray"):
        loss(logits, masked(labels))


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam, optim.AdamW])
def test_w5_parameters_and_optimizers(rule):
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    plain, wrapped = Parameter(values.copy()), Parameter(matrix(values.copy()))
    wrapped.add_grad(stubborn(np.ones((2, 2))))
    assert type(wrapped.data) is type(wrapped.grad) is np.ndarray
    plain.grad, wrapped.grad = np.ones((2, 2)), stubborn(np.ones((2, 2)))
    for parameter in (plain, wrapped):
        rule([parameter], lr=0.1).step()
    assert type(wrapped.data) is np.ndarray
    np.testing.assert_array_equal(wrapped.data, plain.data)
    with pytest.raises(TypeError, match="MaskedArray"):
        Parameter(masked(values))


def test_w5_moving_arrays():
    values = np.array([1.0, -1.0])
    with backstride.use_backend("numpy"), pytest.raises(TypeError, match="asarray: a is a MaskedArray; expected an"):
        backstride.asarray(masked(values))
    with pytest.raises(TypeError, match="to_numpy: a is a MaskedArray"):
        backstride.to_numpy(masked(values))
    with pytest.raises(TypeError, match="got a MaskedArray"):
        backstride.get_array_module(masked(values))
    with backstride.use_backend("numpy"):
        assert type(backstride.asarray(stubborn(values))) is np.ndarray
