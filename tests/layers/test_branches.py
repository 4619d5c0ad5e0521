"""Residual, Add and Concatenate: values and gradients against PyTorch's autograd, sums in order, what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from accuracy import dtype_of

from backstride import layers
from backstride.layers import Add, Concatenate, Conv2d, Layer, Linear, ReLU, Residual, Sequential

# float64 has 2**-52 = 2.2e-16; a sum of some hundred products of numbers of about 1 keeps 13 digits.
ROUNDING = 1e-13


def conv(seed, channels=3):
    return Conv2d(3, channels, 3, padding=1, dtype="float64", rng=seed)


NETWORKS = {
    "residual": (lambda: Residual(conv(0)), lambda c, x: c[0](x) + x),
    "shortcut": (lambda: Residual(Sequential(conv(0), ReLU()), conv(1)), lambda c, x: c[0](x).relu() + c[1](x)),
    "add": (lambda: Add(conv(0), conv(1), conv(2)), lambda c, x: c[0](x) + c[1](x) + c[2](x)),
    "concatenate": (
        lambda: Concatenate(conv(0, 2), Residual(conv(1)), conv(2, 4)),
        lambda c, x: c[0].cat([c[0](x), c[1](x) + x, c[2](x)], 1),
    ),
    "rows": (lambda: Concatenate(conv(0), conv(1), axis=2), lambda c, x: c[0].cat([c[0](x), c[1](x)], 2)),
    "nested": (
        lambda: Sequential(ReLU(), Concatenate(Residual(conv(0)), Concatenate(ReLU(), conv(1)))),
        lambda c, x: c[0].cat([c[0](x.relu()) + x.relu(), x.relu(), c[1](x.relu())], 1),
    ),
}


def convolutions(net):
    return [layer for _, layer in net.named_layers() if isinstance(layer, Conv2d)]


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_gradients_are_pytorchs(name, samples, rng, torch):
    make, definition = NETWORKS[name]
    net = make()
    twins = []
    for layer in convolutions(net):
        twin = torch.nn.Conv2d(3, layer.out_channels, 3, padding=1).double()
        twin.load_state_dict({key: torch.from_numpy(array) for key, array in layer.state_dict().items()})
        twin.cat = torch.cat
        twins.append(twin)
    x = rng.standard_normal((samples, 3, 5, 4))
    tx = torch.from_numpy(x).requires_grad_()
    ty, y = definition(twins, tx), net(x)
    dy = rng.standard_normal(y.shape)
    ty.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(y, ty.detach(), rtol=0, atol=ROUNDING)
    dx = net.backward(dy)
    assert y.flags.c_contiguous
    assert dx.flags.c_contiguous
    np.testing.assert_allclose(dx, tx.grad, rtol=0, atol=ROUNDING)
    for layer, twin in zip(convolutions(net), twins, strict=True):
        np.testing.assert_allclose(layer.weight.grad, twin.weight.grad, rtol=0, atol=10 * ROUNDING)
    once = [p.grad.copy() for p in net.parameters()]
    with pytest.raises(RuntimeError, match="a second time; each forward allows one backward"):
        net.backward(dy)
    net.zero_grad()
    net(x)
    assert net.backward(dy, needs_input_grad=False) is None
    for parameter, gradient in zip(net.parameters(), once, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


class Scale(Layer):
    """y = factor * x, in x's dtype."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        self._keep(())
        return (x.astype(np.float64) * self.factor).astype(x.dtype)

    def backward(self, dy):
        self._kept()
        return (dy.astype(np.float64) * self.factor).astype(dy.dtype)


def test_the_sums_are_taken_in_the_branches_order():
    """1e16 + 1 is 1e16 in float64, so another order would give another number."""
    net, x = Add(Scale(1e16), Scale(-1e16), Scale(1)), np.ones((1, 1))
    assert net(x) == 1
    assert net.backward(x) == 1
    net = Add(Scale(1), Scale(1e16), Scale(-1e16))
    assert net(x) == 0
    assert net.backward(x) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_rounded_once(dtype):
    net, x = Add(*(Scale(2.0**-12) for _ in range(17))), np.ones(1, dtype_of(dtype))
    net, expected = Add(Scale(1.0), *net.layers[1:]), x.dtype.type(1 + 16 * 2.0**-12)
    for found in (net(x), net.backward(x)):
        assert found.dtype == x.dtype
        assert found == expected


def test_branches_without_trained_parameters_are_not_gone_through(rng):
    net = Concatenate(Scale(2), Linear(3, 2, rng=0), axis=1)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    y = net(x)
    net[0].backward = None  # calling it would be a TypeError
    net.backward(y, needs_input_grad=False)
    assert net[1].weight.grad.any()


def test_names_and_text():
    assert list(Residual(conv(0), conv(1)).state_dict()) == [
        f"{part}.{name}" for part in ("body", "shortcut") for name in ("weight", "bias")
    ]
    assert list(Add(ReLU(), Linear(1, 1)).state_dict()) == ["1.weight", "1.bias"]
    for text in (
        "Residual(ReLU())",
        "Residual(ReLU(), Flatten())",
        "Add(ReLU(), ReLU())",
        "Concatenate(ReLU(), Sequential(ReLU()), axis=2)",
        "Concatenate(ReLU())",
    ):
        assert repr(eval(text, vars(layers))) == text


def test_what_is_refused(rng):
    x = rng.standard_normal((2, 3, 4, 4))
    with pytest.raises(ValueError, match="Add: there are no branches; expected at least one"):
        Add()
    with pytest.raises(TypeError, match="Residual: layer body is a function; expected a Layer"):
        Residual(lambda x: x)
    relu = ReLU()
    with pytest.raises(ValueError, match="Concatenate: layer 1 is the same object as layer 0"):
        Concatenate(relu, relu)
    with pytest.raises(
        ValueError,
        match=r"Residual: the shape of what branch shortcut gives is \(2, 3, 4, 4\); expected \(2, 4, 4, 4\)",
    ):
        Residual(conv(0, 4))(x)
    with pytest.raises(ValueError, match=r"branch 1 gives is \(2, 3, 4, 4\); expected \(2, 4, 4, 4\), .*beside axis 3"):
        Concatenate(conv(0, 4), ReLU(), axis=3)(x)
    with pytest.raises(ValueError, match="Concatenate: axis is 4; expected an axis of"):
        Concatenate(ReLU(), axis=4)(x)
    net = Concatenate(ReLU(), conv(0))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        copy.deepcopy(net).backward(x)
    net(x)
    with pytest.raises(
        ValueError, match=r"Concatenate\.backward: dy\.shape is \(2, 3, 4, 4\); expected \(2, 6, 4, 4\)"
    ):
        net.backward(x)
    net = Residual(ReLU())
    net(x)
    with pytest.raises(ValueError, match=r"Residual\.backward: dy\.shape is \(2, 3\); expected \(2, 3, 4, 4\)"):
        net.backward(np.zeros((2, 3)))
