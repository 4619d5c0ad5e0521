"""Normalisation layers: statistics that run, residuals, evaluation inside a net that trains, captured steps."""

from __future__ import annotations

import numpy as np
import pytest
from cupys import emulated, real

import backstride
from backstride import kernels
from backstride.layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv2d, GroupNorm, Layer, LayerNorm, Sequential


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


def test_names_shapes_and_dtypes_of_the_state():
    state = BatchNorm2d(3, dtype="float16").state_dict()
    assert {name: (array.shape, array.dtype.name) for name, array in state.items()} == {
        "weight": ((3,), "float32"),
        "bias": ((3,), "float32"),
        "running_mean": ((3,), "float32"),
        "running_var": ((3,), "float32"),
        "num_batches_tracked": ((), "int64"),
    }
    assert list(BatchNorm1d(3, affine=False, track_running_stats=False).state_dict()) == []
    assert {a.dtype.name for a in GroupNorm(2, 4, dtype="bfloat16").state_dict().values()} == {"float32"}
    assert {a.shape for a in LayerNorm((2, 3), dtype="float64").state_dict().values()} == {(2, 3)}


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (BatchNorm2d(3), "BatchNorm2d(3)"),
        (BatchNorm3d(3, 0.1, None, False), "BatchNorm3d(3, eps=0.1, momentum=None, affine=False)"),
        (BatchNorm1d(2, track_running_stats=False, activation="relu"), None),
        (BatchNorm2d(3, layout="NHWC"), "BatchNorm2d(3, layout='NHWC')"),
        (GroupNorm(2, 6, eps=1e-3), "GroupNorm(2, 6, eps=0.001)"),
        (LayerNorm(5, affine=False), "LayerNorm((5,), affine=False)"),
    ],
)
def test_the_text_of_a_layer_makes_it_again(layer, text):
    assert text is None or repr(layer) == text
    again = eval(repr(layer), vars(backstride.layers).copy())
    assert repr(again) == repr(layer)


SHAPES = {BatchNorm1d: (4, 3, 5), BatchNorm2d: (4, 3, 5, 2), BatchNorm3d: (2, 3, 4, 2, 5)}


@pytest.mark.parametrize("layer", SHAPES)
def test_channels_last_trains_as_channels_first(layer, rng):
    """The same numbers, summed in another order: float64, a few dozen terms."""
    x, dy, residual = rng.standard_normal((3, *SHAPES[layer]))
    found = []
    for layout, move, back in (("NCHW", np.asarray, np.asarray), ("NHWC", _last, _first)):
        norm = layer(3, activation="relu", layout=layout, dtype="float64")
        y = norm.forward(move(x), move(residual))
        grads = norm.backward(move(dy))
        norm.eval()
        images = [y, *grads, norm.forward(move(x), move(residual))]
        found.append([*map(back, images), norm.weight.grad, norm.bias.grad, norm.running_mean.data])
    for first, last in zip(*found, strict=True):
        np.testing.assert_allclose(last, first, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"with C = 3"):
        norm.forward(x)


def _last(a):
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def _first(a):
    return np.moveaxis(a, -1, 1)


WRONG = [
    (lambda: BatchNorm2d(3, layout="nhwc"), ValueError, "BatchNorm2d: layout is 'nhwc'; expected 'NCHW' or 'NHWC'"),
    (lambda: BatchNorm2d(0), ValueError, "BatchNorm2d: num_features is 0; expected an int >= 1"),
    (
        lambda: BatchNorm2d(3, momentum=2),
        ValueError,
        "BatchNorm2d: momentum is 2; expected None or a number from 0 to 1",
    ),
    (lambda: BatchNorm2d(3, momentum="a"), ValueError, "BatchNorm2d: momentum is 'a'; expected None or a number"),
    (lambda: BatchNorm2d(3, eps=-1), ValueError, "BatchNorm2d: eps is -1; expected a number >= 0"),
    (lambda: BatchNorm2d(3, activation="tanh"), ValueError, "activation is 'tanh'; expected None or 'relu'"),
    (lambda: BatchNorm2d(3, dtype="int32"), TypeError, "BatchNorm2d: dtype is int32; expected float16"),
    (lambda: BatchNorm2d(3)(np.zeros((2, 3, 4), "f4")), ValueError, r"expected \(N, C, H, W\) with C = 3"),
    (lambda: BatchNorm2d(3)(np.zeros((2, 4, 4, 4), "f4")), ValueError, r"x.shape is \(2, 4, 4, 4\); expected"),
    (lambda: BatchNorm1d(3)(np.zeros((2, 3, 4, 4), "f4")), ValueError, r"\(N, C\) or \(N, C, L\) with C = 3"),
    (lambda: BatchNorm3d(3)([1.0]), TypeError, "batch_norm: x is a list; expected"),
    (lambda: GroupNorm(3, 4), ValueError, "GroupNorm: num_groups is 3; expected a divisor of C = 4"),
    (lambda: LayerNorm(()), ValueError, r"LayerNorm: normalized_shape is \(\); expected at least one axis"),
    (lambda: LayerNorm(4)(np.zeros((3, 5), "f4")), ValueError, r"layer_norm: x.shape is \(3, 5\); expected"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_one_value_for_each_channel_leaves_the_running_variance_alone(rng):
    layer, x = BatchNorm1d(3), rng.standard_normal((1, 3)).astype("f4")
    np.testing.assert_array_equal(layer(x), 0)
    np.testing.assert_allclose(layer.running_mean.data, 0.1 * x[0], rtol=1e-6)
    np.testing.assert_array_equal(layer.running_var.data, 1)
    assert layer.num_batches_tracked.data == 1


def test_statistics_run_in_training_alone(rng):
    layer, x = BatchNorm2d(3), rng.standard_normal((4, 3, 2, 2)).astype("f4")
    layer(x)
    before = layer.state_dict()
    layer.eval()
    layer(x)
    assert all(array.tobytes() == before[name].tobytes() for name, array in layer.state_dict().items())
    untracked = BatchNorm2d(3, track_running_stats=False)
    y = untracked(x)
    assert untracked.eval()(x).tobytes() == y.tobytes()  # of the batch, in evaluation too


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("training", [True, False])
def test_a_residual(activation, training, rng):
    """backward gives its gradient beside dx; the parameters' gradients are those of the kernels."""
    layer = BatchNorm2d(3, activation=activation)
    layer(rng.standard_normal((4, 3, 2, 2)).astype("f4"))
    layer.train(training)
    x, residual, dy = (rng.standard_normal((4, 3, 2, 2)).astype("f4") for _ in range(3))

    class Block(Layer):
        def __init__(self):
            self.norm = layer

        def forward(self, x):
            return self.norm(x, residual)

        def backward(self, dy, *, needs_input_grad=True):
            return self.norm.backward(dy, needs_input_grad=needs_input_grad)

    block = Block()  # in training mode, whatever its layer is in
    y = block(x)
    dx, dresidual = block.backward(dy)
    masked = np.where(y > 0, dy, 0) if activation else dy
    np.testing.assert_array_equal(dresidual, masked)
    np.testing.assert_allclose(layer.bias.grad, masked.sum((0, 2, 3)), rtol=1e-5)
    assert dx.shape == x.shape
    block(x)
    dx, dresidual = block.backward(dy, needs_input_grad=False)
    assert dx is None
    np.testing.assert_array_equal(dresidual, masked)


def test_frozen_parameters_get_no_gradient(rng):
    layer = LayerNorm(4)
    layer.weight.requires_grad = False
    x = rng.standard_normal((3, 4)).astype("f4")
    layer(x)
    layer.backward(x)
    assert layer.weight.grad is None
    assert layer.bias.grad is not None


@pytest.mark.parametrize("layer", [BatchNorm2d(4), GroupNorm(2, 4), LayerNorm((4, 3, 2))], ids=repr)
def test_a_layer_is_its_kernels(layer, rng):
    x, dy = rng.standard_normal((2, 5, 4, 3, 2)).astype("f4")
    for _, parameter in layer.named_parameters():
        parameter.data[...] = rng.standard_normal(parameter.data.shape)
        parameter.zero_grad()
    size = {"group_norm": (2,), "layer_norm": ((4, 3, 2),)}.get(layer.operation, ())
    weight, bias = layer.weight.data, layer.bias.data
    y, mean, var = getattr(kernels, layer.operation)(x, *size, weight, bias)
    expected = getattr(kernels, f"{layer.operation}_grads")(dy, x, *size, weight, mean, var)
    assert layer(x).tobytes() == y.tobytes()
    found = layer.backward(dy), layer.weight.grad, layer.bias.grad
    assert [a.tobytes() for a in found] == [a.tobytes() for a in expected]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_replays_are_eager_steps(momentum, cupy, rng):
    """Running statistics and their count among them, which a captured step must keep on the device."""

    def network():
        return Sequential(
            Conv2d(2, 4, 3, rng=1),
            BatchNorm2d(4, momentum=momentum, activation="relu"),
            GroupNorm(2, 4),
            LayerNorm((4, 3, 2)),
        )

    def step_of(net):
        def step(x, dy):
            net.zero_grad()
            y = net(x)
            net.backward(dy, needs_input_grad=False)
            return y

        return step

    eager, captured = network(), network()
    replayed = backstride.capture(step_of(captured))
    for _ in range(4):
        x, dy = (cupy.asarray(rng.standard_normal(shape).astype("f4")) for shape in ((3, 2, 5, 4), (3, 4, 3, 2)))
        expected, found = step_of(eager)(x, dy), replayed(x, dy)
        assert found.get().tobytes() == expected.get().tobytes()
        for (name, array), same in zip(captured.state_dict().items(), eager.state_dict().values(), strict=True):
            assert array.get().tobytes() == same.get().tobytes(), name
        for own, same in zip(captured.parameters(), eager.parameters(), strict=True):
            assert own.grad.get().tobytes() == same.grad.get().tobytes()
    assert int(captured.state_dict()["1.num_batches_tracked"].get()) == 4
