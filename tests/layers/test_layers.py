"""Layers: parameters, gradients against PyTorch's autograd, modes, state_dict."""

from __future__ import annotations

import copy
import warnings
import weakref

import numpy as np
import pytest
from accuracy import dtype_of

import backstride
from backstride.layers import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential

# float64 has 2**-52 = 2.2e-16; a sum of some thousand products of numbers of about 1 keeps 12 digits.
ROUNDING = 1e-12


def textbook(dtype="float64"):
    """The network of backprop.md."""
    return Sequential(
        Conv2d(3, 2, (3, 2), stride=2, dtype=dtype, rng=1),
        MaxPool2d(2, stride=3),
        Linear(50, 32, batch_axis=1, dtype=dtype, rng=2),
    )


def gradients(net):
    return {name: p.grad for name, p in net.named_parameters()}


def torch_twin(torch, net):
    """The same network in PyTorch, with the same parameters."""
    nn, layers = torch.nn, []
    for layer in net:
        options = {name: value for name, value in getattr(layer, "options", {}).items() if name != "layout"}
        if isinstance(layer, Conv2d):
            has_bias = layer.bias is not None
            layers.append(nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, bias=has_bias, **options))
        elif isinstance(layer, Linear):
            layers.append(nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None))
        elif isinstance(layer, (MaxPool2d, AvgPool2d)):
            layers.append(getattr(nn, type(layer).__name__)(layer.kernel_size, **options))
        else:
            layers.append(getattr(nn, type(layer).__name__)())
    twin = nn.Sequential(*layers).double()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in net.state_dict().items()})
    return twin


def test_textbook_shapes(rng):
    net = textbook()
    x = rng.standard_normal((10, 3, 29, 28))
    conv, pool, linear = net
    y = [conv(x)]
    y.append(pool(y[-1]))
    y.append(linear(y[-1]))
    assert [a.shape for a in y] == [(10, 2, 14, 14), (10, 2, 5, 5), (32, 10)]
    dx = [linear.backward(rng.standard_normal((32, 10)))]
    dx.append(pool.backward(dx[-1]))
    dx.append(conv.backward(dx[-1]))
    assert [a.shape for a in dx] == [(10, 2, 5, 5), (10, 2, 14, 14), (10, 3, 29, 28)]
    expected = {"0.weight": (2, 3, 3, 2), "0.bias": (2, 1, 1), "2.weight": (32, 50), "2.bias": (32, 1)}
    assert {name: gradient.shape for name, gradient in gradients(net).items()} == expected
    assert {name: p.data.shape for name, p in net.named_parameters()} == expected


def test_textbook_gradients_are_pytorchs(rng, torch):
    net = textbook()
    nn = torch.nn
    state = {name: torch.from_numpy(array) for name, array in net.state_dict().items()}
    twin = nn.Sequential(nn.Conv2d(3, 2, (3, 2), stride=2), nn.MaxPool2d(2, stride=3), nn.Flatten(), nn.Linear(50, 32))
    twin = twin.double()
    twin.load_state_dict({name.replace("2.", "3."): array for name, array in state.items()})
    x, dy = rng.standard_normal((10, 3, 29, 28)), rng.standard_normal((32, 10))
    tx = torch.from_numpy(x).requires_grad_()
    ty = twin(tx)
    ty.backward(torch.from_numpy(dy).T)
    y = net(x)
    dx = net.backward(dy)
    for ours, theirs in [(y, ty.T), (dx, tx.grad)]:
        np.testing.assert_allclose(ours, theirs.detach(), rtol=0, atol=ROUNDING)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad.reshape(ours.grad.shape), rtol=0, atol=ROUNDING)


def conv(*arguments, **options):
    return Conv2d(*arguments, dtype="float64", rng=3, **options)


def fully_connected(*arguments):
    return Linear(*arguments, dtype="float64", rng=4)


NETWORKS = {
    "small": [conv(3, 8, 3, padding=1), ReLU(), AvgPool2d(2), Flatten(), fully_connected(8 * 4 * 5, 7)],
    "grouped, dilated, overlapping": [
        conv(3, 6, (3, 2), (2, 1), (2, 1), 2, 3, False),
        ReLU(),
        MaxPool2d(3, 2, 1, ceil_mode=True),
        Flatten(),
    ],
    "counting only what is inside": [
        AvgPool2d(3, 2, 1, True, False),
        conv(3, 2, 1),
        Flatten(),
        fully_connected(60, 4, False),
        ReLU(),
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("samples", [0, 1, 4])
def test_values_and_gradients_are_pytorchs(name, samples, rng, torch):
    net = copy.deepcopy(Sequential(*NETWORKS[name]))
    twin = torch_twin(torch, net)
    x = rng.standard_normal((samples, 3, 8, 10))
    tx = torch.from_numpy(x).requires_grad_()
    ty = twin(tx)
    y = net(x)
    np.testing.assert_allclose(y, ty.detach(), rtol=0, atol=ROUNDING)
    dy = rng.standard_normal(y.shape)
    ty.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(net.backward(dy), tx.grad, rtol=0, atol=ROUNDING)
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad.reshape(ours.grad.shape), rtol=0, atol=ROUNDING)


def test_backward_adds_and_zero_grad_clears(rng):
    net = textbook()
    x, dy = rng.standard_normal((10, 3, 29, 28)), rng.standard_normal((32, 10))
    net(x)
    net.backward(dy)
    once = copy.deepcopy(gradients(net))
    net(x)
    net.backward(dy)
    for name, gradient in gradients(net).items():
        np.testing.assert_array_equal(gradient, once[name] + once[name])
    kept = gradients(net)["0.weight"]
    net.zero_grad()
    assert gradients(net)["0.weight"] is kept
    assert not any(gradient.any() for gradient in gradients(net).values())


@pytest.mark.parametrize("samples", [0, 1, 3, 50])
def test_linear_flattens_and_restores(samples, rng):
    """50 samples of 50 features: even there the two layouts must not be taken for each other."""
    x = rng.standard_normal((samples, 2, 5, 5))
    rows = Linear(50, 4, dtype="float64", rng=3)
    columns = Linear(50, 4, batch_axis=1, dtype="float64", rng=3)
    dy = rng.standard_normal((samples, 4))
    flat = x.reshape(samples, 50)
    np.testing.assert_allclose(rows(x), flat @ rows.weight.data.T + rows.bias.data, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(columns(x), rows(x).T, rtol=0, atol=ROUNDING)
    dx = rows.backward(dy)
    np.testing.assert_allclose(dx.reshape(samples, 50), dy @ rows.weight.data, rtol=0, atol=ROUNDING)
    dx_of_columns = columns.backward(dy.T)
    assert dx.shape == dx_of_columns.shape == x.shape
    np.testing.assert_allclose(dx_of_columns, dx, rtol=0, atol=ROUNDING)
    assert columns(flat.T).shape == (4, samples)
    assert columns.backward(dy.T).shape == flat.T.shape


def test_input_gradient_is_skipped_where_nobody_needs_it(rng, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the first layer's dx was computed")

    from backstride.kernels.conv import checked

    x, dy = rng.standard_normal((10, 3, 29, 28)), rng.standard_normal((32, 10))
    with_dx, without = textbook(), textbook()
    with_dx(x)
    with_dx.backward(dy)
    monkeypatch.setattr(checked, "input_grad", refuse)
    without(x)
    assert without.backward(dy, needs_input_grad=False) is None
    for ours, theirs in zip(without.parameters(), with_dx.parameters(), strict=True):
        np.testing.assert_array_equal(ours.grad, theirs.grad)


def test_layers_before_the_first_parameters_are_skipped_too(rng):
    net = Sequential(ReLU(), Flatten(), Linear(6, 2, dtype="float64", rng=0))
    net(rng.standard_normal((4, 2, 3)))
    net[0].backward = None  # calling it would be a TypeError
    assert net.backward(np.ones((4, 2)), needs_input_grad=False) is None
    assert net[2].weight.grad.any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_relu(dtype):
    dtype = dtype_of(dtype)
    x = np.array([-2, -0.0, 0, 3, np.inf, -np.inf, np.nan]).astype(dtype)
    dy = np.array([1, 2, 3, 4, 5, np.nan, 7]).astype(dtype)
    relu = ReLU()
    y = relu(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.astype(float), [0, 0, 0, 3, np.inf, 0, np.nan])
    dx = relu.backward(dy)
    assert dx.dtype == dtype
    # At NaN the gradient passes, and a NaN in dy is stopped where x <= 0: both as in PyTorch.
    np.testing.assert_array_equal(dx.astype(float), [0, 0, 0, 4, 5, 0, 7])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_w8_relu_of_an_array_without_axes(dtype):
    relu = ReLU()
    for value, slope in ((2, 1), (-2, 0)):
        y = relu(np.array(value, dtype_of(dtype)))
        dx = relu.backward(np.array(3, dtype_of(dtype)))
        assert type(y) is type(dx) is np.ndarray
        assert (y.shape, dx.shape, y.dtype, dx.dtype) == ((), (), dtype_of(dtype), dtype_of(dtype))
        assert (float(y), float(dx)) == (max(value, 0), 3 * slope)


def test_w9_options_in_lists_are_fixed():
    """A layer made with lists is the layer made with tuples, whatever becomes of the lists."""
    pair, sides = [2, 1], [[1, 0], [0, 1]]
    for make in (
        lambda pair, sides: Conv2d(2, 4, [3, 2], pair, sides, [1, 2], 2, rng=0),
        lambda pair, sides: MaxPool2d([3, 2], pair, sides, [1, 2]),
        lambda pair, sides: AvgPool2d([3, 2], pair, sides),
    ):
        given = copy.deepcopy((pair, sides))
        layer, expected = make(*given), make((2, 1), ((1, 0), (0, 1)))
        given[0][0], given[1][0][0] = 5, 7
        x = np.ones((1, 2, 9, 8), np.float32)
        np.testing.assert_array_equal(layer(x), expected(x))
        assert repr(layer) == repr(expected)
        assert layer.backward(layer(x)).shape == x.shape
    scalar = np.array(2)
    layer = MaxPool2d(2, stride=scalar)
    scalar[...] = 1
    assert layer(np.ones((1, 1, 4, 4))).shape == (1, 1, 2, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_dtype_stays(dtype, rng):
    net = Sequential(Conv2d(2, 3, 2, dtype=dtype, rng=0), ReLU(), MaxPool2d(2), Flatten(), Linear(12, 5, dtype=dtype))
    x = rng.standard_normal((3, 2, 5, 5)).astype(dtype_of(dtype))
    y = net(x)
    dx = net.backward(y)
    assert {a.dtype for a in (x, y, dx, *gradients(net).values())} == {x.dtype}


def test_initial_weights(rng):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) as PyTorch's: within the bound, filling it, and the seed decides."""
    conv = Conv2d(8, 64, (3, 5), groups=2, rng=0)
    bound = 1 / np.sqrt(4 * 3 * 5)
    assert conv.weight.data.dtype == conv.bias.data.dtype == np.float32
    assert 0.99 * bound < np.abs(conv.weight.data).max() <= bound
    assert np.abs(conv.bias.data).max() <= bound
    # the mean of 3,840 such numbers has a standard deviation of bound/sqrt(3*3840)
    assert abs(conv.weight.data.mean()) < 5 * bound / np.sqrt(3 * conv.weight.data.size)
    again = Conv2d(8, 64, (3, 5), groups=2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(conv.weight.data, again.weight.data)
    fresh = Conv2d(8, 64, (3, 5), groups=2)
    assert (fresh.weight.data != conv.weight.data).any()
    double = Linear(9, 4, rng=5, dtype="float64").weight.data
    np.testing.assert_array_equal(double.astype(np.float32), Linear(9, 4, rng=5).weight.data)


LAYERS = [Conv2d(2, 3, 2), MaxPool2d(2), AvgPool2d(2), Linear(18, 4), ReLU(), Flatten(), Sequential(ReLU(), Flatten())]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_backward_needs_a_forward_in_training_mode(layer, rng):
    layer = copy.deepcopy(layer)
    x = rng.standard_normal((2, 2, 3, 3)).astype(np.float32)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        layer.backward(x)
    in_training = layer(x)
    assert layer.eval() is layer
    np.testing.assert_array_equal(layer(x), in_training)
    with pytest.raises(RuntimeError, match="eval mode"):
        layer.backward(in_training)
    layer.train()
    with pytest.raises(RuntimeError, match="before forward"):
        layer.backward(in_training)
    layer(x)
    assert layer.backward(in_training).shape == x.shape


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_f16_one_backward_for_each_forward(layer, rng):
    layer = copy.deepcopy(layer)
    x = rng.standard_normal((2, 2, 3, 3)).astype(np.float32)
    y = layer(x)
    dx = layer.backward(y)
    once = {name: p.grad.copy() for name, p in layer.named_parameters()}
    for same in (layer, copy.deepcopy(layer)):
        with pytest.raises(RuntimeError, match="backward was called a second time; each forward allows one backward"):
            same.backward(y)
    for name, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad, once[name])
    layer.zero_grad()
    layer(2 * x)
    layer(x)  # the last forward is the one that counts
    np.testing.assert_array_equal(layer.backward(y), dx)
    for name, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad, once[name])


def test_f16_what_forward_kept_is_freed_by_backward():
    relu, y = ReLU(), np.ones((2, 3))
    held = weakref.ref(relu(y))
    assert held() is not None
    relu.backward(y)
    assert held() is None


def test_inputs_are_not_changed_and_may_be_strided(rng):
    net = Sequential(Conv2d(2, 3, 2, dtype="float64", rng=0), ReLU(), Flatten(), Linear(3 * 4 * 4, 5, dtype="float64"))
    wide = rng.standard_normal((5, 5, 4, 3))
    x = wide.transpose(3, 2, 0, 1)[:, ::2]
    x.flags.writeable = False
    before = wide.copy()
    y = net(x)
    dy = rng.standard_normal((5, 3)).T
    dy.flags.writeable = False
    dx = net.backward(dy)
    np.testing.assert_array_equal(wide, before)
    contiguous = copy.deepcopy(net)
    np.testing.assert_array_equal(contiguous(x.copy()), y)
    np.testing.assert_array_equal(contiguous.backward(dy.copy()), dx)


def test_state_dict_is_a_copy_in_pytorchs_shapes():
    net = textbook()
    state = net.state_dict()
    assert {name: a.shape for name, a in state.items()} == {
        "0.weight": (2, 3, 3, 2),
        "0.bias": (2,),
        "2.weight": (32, 50),
        "2.bias": (32,),
    }
    before = state["0.weight"].copy()
    net[0].weight.data += 1
    np.testing.assert_array_equal(state["0.weight"], before)


def test_state_dict_loads_either_form_of_a_bias_and_keeps_the_arrays():
    net, other = textbook(), textbook()
    for p in other.parameters():
        p.data += 1
    held = net[0].bias.data
    net.load_state_dict(other.state_dict())
    assert net[0].bias.data is held
    np.testing.assert_array_equal(held, other[0].bias.data)
    other[0].bias.data += 1
    net.load_state_dict({name: p.data for name, p in other.named_parameters()})
    np.testing.assert_array_equal(held, other[0].bias.data)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_state_dict_from_pytorch(dtype, torch):
    dtype_of(dtype)
    twin = torch.nn.Sequential(torch.nn.Conv2d(3, 2, (3, 2)), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    twin = twin.to(getattr(torch, dtype))
    net = Sequential(Conv2d(3, 2, (3, 2), dtype=dtype), ReLU(), Linear(5, 4, dtype=dtype))
    for state in (twin.state_dict(), dict(twin.named_parameters())):
        net.load_state_dict(state)
        for name, p in net.named_parameters():
            theirs = state[name].detach().double().numpy()
            np.testing.assert_array_equal(p.data.astype(np.float64), theirs.reshape(p.data.shape))


def test_everything_wrong_with_a_state_dict_is_listed_and_nothing_loaded():
    net = textbook()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["2.weight"]
    state["0.weight"] = np.zeros((3, 2, 3, 2))
    state["2.bias"] = np.zeros(32, complex)
    state["7.bias"] = np.zeros(3)
    with pytest.raises(ValueError, match="nothing was loaded") as info:
        net.load_state_dict(state)
    for told in (
        "2.weight is missing",
        "7.bias is unexpected",
        "0.weight has shape (3, 2, 3, 2); expected (2, 3, 3, 2)",
        "2.bias has dtype complex128; expected real numbers",
    ):
        assert told in str(info.value)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_nested_names():
    net = Sequential(Sequential(ReLU(), Linear(2, 3)), Sequential(Sequential(Linear(3, 1, bias=False))))
    assert [name for name, _ in net.named_parameters()] == ["0.1.weight", "0.1.bias", "1.0.0.weight"]
    assert len(list(net.parameters())) == 3
    assert len(net) == 2
    assert [type(layer) for layer in net[0]] == [ReLU, Linear]


def test_to_stays_where_it_is_and_refuses_what_is_not_there():
    net = textbook()
    data = net[0].weight.data
    assert net.to("numpy") is net
    assert net[0].weight.data is data
    with pytest.raises(ValueError, match="backend is 'jax'"):
        net.to("jax")
    if backstride.backend.probe_cupy().failed:
        with pytest.raises(backstride.BackendUnavailableError, match="probe failed"):
            net.to("cupy")
        assert net[0].weight.data is data


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Conv2d(0, 1, 1), ValueError, "Conv2d: in_channels is 0; expected an int >= 1"),
        (lambda: Conv2d(1, 2.5, 1), ValueError, "Conv2d: out_channels is 2.5"),
        (lambda: Conv2d(1, 1, (3, 0)), ValueError, r"Conv2d: kernel_size\[1\] is 0"),
        (lambda: Conv2d(1, 1, 3, stride=0), ValueError, "Conv2d: stride is 0"),
        (lambda: Conv2d(1, 1, 3, padding=-1), ValueError, "Conv2d: padding is -1"),
        (lambda: Conv2d(1, 1, 3, padding="full"), ValueError, "Conv2d: padding is 'full'"),
        (lambda: Conv2d(1, 1, 3, dilation=(1, 0)), ValueError, r"Conv2d: dilation\[1\] is 0"),
        (lambda: Conv2d(4, 6, 3, groups=3), ValueError, "Conv2d: groups is 3; expected a divisor of C = 4 and K = 6"),
        (lambda: Conv2d(1, 1, 1, dtype="int32"), TypeError, "Conv2d: dtype is int32; expected float16"),
        (lambda: MaxPool2d(2, padding=2), ValueError, "MaxPool2d: padding is"),
        (lambda: MaxPool2d(2, stride=0), ValueError, "MaxPool2d: stride is 0"),
        (lambda: AvgPool2d(0), ValueError, "AvgPool2d: kernel_size is 0"),
        (lambda: AvgPool2d(2, divisor_override=0), ValueError, "AvgPool2d: divisor_override is 0"),
        (lambda: Linear(0, 1), ValueError, "Linear: in_features is 0"),
        (lambda: Linear(1, 1, batch_axis=2), ValueError, "Linear: batch_axis is 2"),
        (lambda: Linear(1, 1, dtype=complex), TypeError, "Linear: dtype is complex128"),
        (lambda: Sequential(ReLU(), np.tanh), TypeError, "Sequential: layer 1 is a ufunc; expected a Layer"),
    ],
)
def test_bad_arguments_of_layers(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_layer_given_twice_is_refused():
    relu = ReLU()
    with pytest.raises(ValueError, match=r"layer 1\.0 is the same object as layer 0"):
        Sequential(relu, Sequential(relu))


def test_bad_inputs_of_layers_name_the_argument():
    with pytest.raises(TypeError, match=r"conv2d: w.dtype is float32; expected float64 as x"):
        Conv2d(1, 1, 1)(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"linear: x.shape is \(2, 12\); expected \(N, F\) with F = 5"):
        Linear(5, 2)(np.zeros((2, 3, 4), np.float32))
    with pytest.raises(TypeError, match=r"ReLU: x\.dtype is int64"):
        ReLU()(np.zeros(3, int))
    relu = ReLU()
    relu(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"ReLU.backward: dy.shape is \(3,\); expected \(2, 3\)"):
        relu.backward(np.zeros(3))
    flatten = Flatten()
    flatten(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"Flatten.backward: dy.shape is \(2, 3, 4\); expected \(2, 12\)"):
        flatten.backward(np.zeros((2, 3, 4)))


def test_a_layer_of_the_users_own(rng):
    """The base class is enough for a residual block: names, modes and gradients come from its children."""

    class Residual(Layer):
        def __init__(self, body):
            self.body = body

        def children(self):
            yield "body", self.body

        def forward(self, x):
            return x + self.body(x)

        def backward(self, dy, *, needs_input_grad=True):
            return dy + self.body.backward(dy)

    net = Sequential(Residual(Sequential(Linear(3, 3, dtype="float64", rng=0))))
    assert [name for name, _ in net.named_parameters()] == ["0.body.0.weight", "0.body.0.bias"]
    x = rng.standard_normal((2, 3))
    net(x)
    weight = net[0].body[0].weight
    np.testing.assert_allclose(net.backward(x), x + x @ weight.data, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(weight.grad, x.T @ x, rtol=0, atol=ROUNDING)


def test_no_warnings_on_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = Sequential(ReLU(), MaxPool2d(1))
        net.backward(net(np.full((1, 1, 2, 2), np.nan, np.float32)))
