"""Layers that users write: what is found among their attributes, and what of it is saved (F4 and F5)."""

from __future__ import annotations

import copy
import logging
import weakref

import numpy as np
import pytest

from backstride import _notices, load_weights, save_weights
from backstride.layers import Buffer, Conv2d, Layer, Linear, Parameter, ReLU, Sequential
from backstride.optim import SGD, Adam


class Block(Layer):
    """A layer among whose attributes are others, an array that training changes and one that it does not."""

    def __init__(self, rng=0):
        self.conv, self.relu = Conv2d(2, 3, 2, rng=rng), ReLU()
        self.running_mean = Buffer(np.zeros(3))
        self.scale = Parameter(np.ones((3, 1, 1), np.float32))
        self.count = Buffer(np.zeros((), np.int64))

    def forward(self, x):
        y = self.relu(self.conv(x))
        self.count.data += 1
        self._keep(y)
        return y * self.scale.data

    def backward(self, dy):
        y = self._kept()
        self.scale.add_grad((dy * y).sum(axis=(0, 2, 3)).reshape(3, 1, 1))
        return self.conv.backward(self.relu.backward(dy * self.scale.data))


NAMES = ["scale", "running_mean", "count", "conv.weight", "conv.bias"]


def x_of(rng, dtype=np.float32):
    return rng.standard_normal((2, 2, 4, 4)).astype(dtype)


def test_f4_children_are_found_among_attributes():
    assert [name for name, _ in Block().named_parameters()] == ["scale", "conv.weight", "conv.bias"]
    assert [name for name, _ in Block().named_layers()] == ["", "conv", "relu"]
    net = Sequential({"first": Block(), "then": Sequential(Block())})
    assert list(net.state_dict()) == [f"{prefix}{name}" for prefix in ("first.", "then.0.") for name in NAMES]


def test_names_and_their_order_are_pytorchs(torch):
    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = torch.nn.Conv2d(2, 3, 2), torch.nn.ReLU()
            self.register_buffer("running_mean", torch.ones(3))
            self.scale = torch.nn.Parameter(torch.ones(3, 1, 1))
            self.register_buffer("count", torch.tensor(7))

    block, twin = Block(), Twin()
    assert list(block.state_dict()) == list(twin.state_dict()) == NAMES
    block.load_state_dict(twin.state_dict())
    assert (block.count.data, block.running_mean.data.tolist()) == (7, [1, 1, 1])
    np.testing.assert_array_equal(block.conv.weight.data, twin.conv.weight.detach())
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in block.state_dict().items()})


def test_a_block_is_trained(rng):
    net = Sequential(Block(), Linear(27, 1, rng=1))
    optimizer, x = Adam(net.parameters(), lr=0.01), x_of(rng)
    losses = []
    for _ in range(30):
        y = net(x)
        losses.append(float((y * y).sum()))
        net.zero_grad()
        net.backward(2 * y, needs_input_grad=False)
        optimizer.step()
    assert losses[-1] < losses[0] / 10
    assert net[0].count.data == 30


def test_f5_buffers_are_saved_loaded_and_moved(rng, tmp_path):
    pytest.importorskip("safetensors", reason="weights are kept as safetensors")
    block, other = Block(0), Block(1)
    block.running_mean.data[...] = rng.standard_normal(3)
    block(x_of(rng))
    save_weights(block, tmp_path / "block.safetensors")
    held = other.count.data
    load_weights(other, tmp_path / "block.safetensors")
    assert other.count.data is held
    for name, array in block.state_dict().items():
        found = other.state_dict()[name]
        assert (found.dtype, found.tobytes()) == (array.dtype, array.tobytes()), name
    assert other.to("numpy").running_mean.data.tolist() == block.running_mean.data.tolist()
    assert [name for name, _ in block.named_buffers()] == ["running_mean", "count"]


@pytest.mark.parametrize("value", [2.5, np.nan, np.inf, 2.0**63])
def test_a_count_that_is_none_is_refused(value):
    block = Block()
    with pytest.raises(ValueError, match=r"count is .*; expected whole numbers from -9223372036854775808 to 9223"):
        block.load_state_dict(block.state_dict() | {"count": np.array(value)})
    block.load_state_dict(block.state_dict() | {"count": np.array(3.0)})
    assert block.count.data == 3


def test_f5_an_array_that_is_not_saved_is_said(caplog, rng):
    class Whitening(Layer):
        def __init__(self):
            self.mean, self._window = np.zeros(3), np.ones(3)

        def forward(self, x):
            self.x = x
            return x - self.mean

    _notices.warn_once.cache_clear()
    layer = Whitening()
    with caplog.at_level(logging.WARNING, "backstride"):
        assert not list(layer.parameters())
        layer(rng.standard_normal(3))  # what it puts among the attributes is none of the state
        assert layer.state_dict() == {}
    (said,) = caplog.messages
    assert "Whitening.mean is an array that is not saved" in said
    assert "make it a Buffer" in said


@pytest.mark.parametrize(
    "hidden",
    [
        [ReLU()],
        (ReLU(), 3),
        {"a": ReLU()},
        [[Parameter(np.zeros(1))]],
        {"a": (Buffer(np.zeros(1)),)},
    ],
    ids=repr,
)
def test_layers_in_a_list_are_refused(hidden):
    class Net(Layer):
        def __init__(self):
            self.options, self.blocks = {"a": [1, 2]}, hidden

    for use in (Net().train, Net().state_dict, lambda: list(Net().parameters())):
        with pytest.raises(
            TypeError, match=f"Net: blocks is a {type(hidden).__name__} of layers.*expected a Sequential"
        ):
            use()


def test_a_layer_stands_in_one_place():
    class Pair(Layer):
        def __init__(self, one, other):
            self.one, self.other = one, other

    relu = ReLU()
    with pytest.raises(
        ValueError, match=r"layer other\.0 is the same object as layer one; expected a layer of its own"
    ):
        list(Pair(relu, Sequential(relu)).parameters())
    pair = Pair(ReLU(), None)
    pair.other = pair
    with pytest.raises(ValueError, match="layer other is the same object as the layer that holds it"):
        pair.eval()


def test_a_parameter_may_stand_in_two():
    """Tied weights, as in torch.nn: both names in the state_dict, one parameter for the optimizer."""
    net = Sequential(Linear(2, 2, False, rng=0), Linear(2, 2, False, rng=1))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight"]
    assert list(net.state_dict()) == ["0.weight", "1.weight"]
    x = np.eye(2, dtype=np.float32)
    net(x)
    w = net[0].weight.data.copy()
    net.backward(x)
    # L = trace(W W): dL/dW = 2 transpose(W)
    np.testing.assert_allclose(net[0].weight.grad, 2 * w.T, rtol=1e-6)


def test_needs_input_grad_is_passed_to_those_that_take_it(rng):
    asked = []

    class Plain(Layer):
        def forward(self, x):
            self._keep(())
            return 2 * x

        def backward(self, dy):
            self._kept()
            return 2 * dy

    class Asking(Plain):
        def backward(self, dy, **options):
            asked.append(options)
            return super().backward(dy)

    x = rng.standard_normal((2, 3)).astype(np.float32)
    plain = Plain()
    plain(x)
    assert plain.backward(x, needs_input_grad=False) is None
    net = Sequential(Linear(3, 3, rng=0), Asking(), Plain())
    net(x)
    assert net.backward(x, needs_input_grad=False) is None
    assert asked == [{"needs_input_grad": True}]
    expected = Linear(3, 3, rng=0)
    expected(x)
    expected.backward(4 * x)
    np.testing.assert_allclose(net[0].weight.grad, expected.weight.grad, rtol=1e-6)


def test_the_gradient_is_allocated_at_the_first_backward(rng):
    net = Sequential(Conv2d(2, 3, 2, rng=0), Linear(27, 2, rng=0))
    assert [p.grad for p in net.parameters()] == [None] * 4
    net.zero_grad()
    SGD(net.parameters(), lr=1).step()  # nothing to step along
    assert net.state_dict()["0.weight"].tolist() == Conv2d(2, 3, 2, rng=0).weight.data.tolist()
    net.backward(net(x_of(rng)))
    assert all(p.grad.shape == p.data.shape and p.grad.dtype == p.data.dtype for p in net.parameters())


FROZEN = [(), ("weight",), ("bias",), ("weight", "bias")]


@pytest.mark.parametrize("needs_input_grad", [True, False])
@pytest.mark.parametrize("frozen", FROZEN, ids=repr)
@pytest.mark.parametrize("make", [lambda: Conv2d(2, 3, 2, rng=0), lambda: Linear(32, 5, rng=0)], ids=["conv", "linear"])
def test_frozen_parameters(make, frozen, needs_input_grad, rng, monkeypatch):
    x, reference, layer = x_of(rng), make(), make()
    dy = reference(x)
    dx = reference.backward(dy)
    for name in frozen:
        getattr(layer, name).requires_grad = False
    if frozen:  # what computes both gradients must not be called for one
        for both in ("conv.checked.grads", "conv.checked.parameter_grads"):
            monkeypatch.delattr(f"backstride.kernels.{both}")
        for both in ("linear_grads", "linear_parameter_grads"):
            monkeypatch.delattr(f"backstride.layers.linear.{both}")
    layer(x)
    found = layer.backward(dy, needs_input_grad=needs_input_grad)
    assert (found is None) is not needs_input_grad
    # float32's 1.2e-7 times sums of at most 32 products of numbers below 4
    if needs_input_grad:
        np.testing.assert_allclose(found, dx, rtol=0, atol=2e-5)
    for name, parameter in layer.named_parameters():
        if name in frozen:
            assert parameter.grad is None
        else:
            np.testing.assert_allclose(parameter.grad, getattr(reference, name).grad, rtol=0, atol=2e-5)


def test_a_frozen_weight_keeps_no_input(rng):
    layer, x = Conv2d(2, 3, 2, rng=0), x_of(rng)
    layer.weight.requires_grad = False
    held = weakref.ref(x)
    layer(x)
    del x
    assert held() is None


def test_sequential_stops_at_the_first_trained_layer(rng):
    net = Sequential(Conv2d(2, 3, 2, rng=0), ReLU(), Conv2d(3, 2, 2, rng=0), Linear(8, 2, rng=0))
    frozen = list(net[0].parameters()) + list(net[3].parameters())
    for parameter in frozen:
        parameter.requires_grad = False
    net[1].backward = None  # calling it would be a TypeError
    before = net.state_dict()
    y = net(x_of(rng))
    net.backward(y, needs_input_grad=False)
    assert all(p.grad is None for p in frozen)
    SGD(net.parameters(), lr=0.1).step()
    assert [name for name, array in net.state_dict().items() if (array != before[name]).any()] == [
        "2.weight",
        "2.bias",
    ]
    for parameter in net.parameters():
        parameter.requires_grad = False
    y = net(x_of(rng))
    assert net.backward(y, needs_input_grad=False) is None


def test_an_optimizer_leaves_frozen_parameters_alone(rng):
    layer = Linear(32, 2, rng=0)
    optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    layer.backward(layer(x_of(rng)))
    optimizer.step()
    layer.weight.requires_grad = False
    before = layer.state_dict()
    optimizer.step()
    assert layer.weight.data.tolist() == before["weight"].tolist()
    assert (layer.bias.data != before["bias"]).all()


def test_load_state_dict_not_strictly():
    net = Sequential({"body": Linear(3, 3, rng=0), "head": Linear(3, 2, rng=0)})
    state = Sequential({"body": Linear(3, 3, rng=1), "other": Linear(3, 5, rng=1)}).state_dict()
    before = net.state_dict()
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert missing == ["head.weight", "head.bias"]
    assert unexpected == ["other.weight", "other.bias"]
    found = net.state_dict()
    np.testing.assert_array_equal(found["body.weight"], state["body.weight"])
    np.testing.assert_array_equal(found["head.weight"], before["head.weight"])
    assert net.load_state_dict(found) == ([], [])
    with pytest.raises(ValueError, match=r"body\.bias has shape \(4,\); expected \(3,\)"):
        net.load_state_dict({"body.bias": np.zeros(4)}, strict=False)


def test_a_layer_in_eval_inside_one_that_trains_has_a_backward(rng):
    net, x = Sequential(Linear(3, 3, rng=0), ReLU()), rng.standard_normal((2, 3)).astype(np.float32)
    y = net(x)
    dx = net.backward(y)
    net[1].eval()
    np.testing.assert_array_equal(net(x), y)
    np.testing.assert_array_equal(net.backward(y), dx)
    net[1](x)
    with pytest.raises(RuntimeError, match="eval mode"):
        net[1].backward(x)
    net.eval()
    net(x)
    with pytest.raises(RuntimeError, match="eval mode"):
        net.backward(y)


def test_sequential_of_names(rng):
    net = Sequential({"first": Linear(3, 4, rng=0), "relu": ReLU()})
    assert net["first"] is net.first is net[0]
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert repr(net) == "Sequential({'first': Linear(3, 4), 'relu': ReLU()})"
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(copy.deepcopy(net)(x), Sequential(net.first, net.relu)(x))
    for name in ("forward", "a.b", "", "training"):
        with pytest.raises(ValueError, match=f"Sequential: the name '{name}' cannot be a layer's"):
            Sequential({name: ReLU()})


def test_buffers_hold_numbers():
    with pytest.raises(TypeError, match=r"Buffer: data\.dtype is complex128; expected"):
        Buffer(np.zeros(2, complex))
    with pytest.raises(TypeError, match="got a list"):
        Buffer([1.0])
