"""fold: the results of evaluation with fewer layers."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import dtype_of

from backstride import fold
from backstride.fold import Folded
from backstride.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
)
from backstride.models.resnet import ResidualBlock


class Block(Layer):
    def __init__(self, rng, says):
        self.conv, self.says = Conv2d(3, 3, 3, padding=1, dtype="float64", rng=rng), says
        self.norm = norm(3, rng, activation="relu")

    def consecutive(self):
        return [("conv", "norm")] if self.says else ()

    def forward(self, x):
        return self.norm(self.conv(x), x)


def norm(channels, rng, dtype="float64", kind=BatchNorm2d, **options):
    """With statistics and parameters of some training."""
    layer = kind(channels, dtype=dtype, **options)
    for name, held in layer.named_state():
        if name != "num_batches_tracked":
            low = 0.5 if name == "running_var" else -2
            held.data[...] = rng.uniform(low, 2, channels)
    return layer


def images(rng, dtype="float64"):
    return rng.standard_normal((2, 3, 6, 5)).astype(dtype_of(dtype))


def conv(rng, dtype="float64", **options):
    return Conv2d(3, 6, 3, dtype=dtype, rng=rng, **options)


NETWORKS = {
    "conv": lambda rng: Sequential(conv(rng), norm(6, rng)),
    "without bias": lambda rng: Sequential(conv(rng, bias=False, groups=3), norm(6, rng, activation="relu"), ReLU()),
    "not affine": lambda rng: Sequential({"conv": conv(rng, stride=2), "norm": norm(6, rng, affine=False)}),
    "linear": lambda rng: Sequential(Linear(90, 4, dtype="float64", rng=rng), norm(4, rng, kind=BatchNorm1d)),
    "transposed": lambda rng: Sequential(ConvTranspose2d(3, 6, 3, 2, groups=3, dtype="float64", rng=rng), norm(6, rng)),
    "channels last": lambda rng: Sequential(
        Conv2d(5, 6, 3, groups=1, layout="NHWC", dtype="float64", rng=rng), norm(6, rng, layout="NHWC")
    ),
    "transposed, channels last": lambda rng: Sequential(
        ConvTranspose2d(5, 10, (3, 2), 2, groups=5, layout="NHWC", dtype="float64", rng=rng),
        norm(10, rng, layout="NHWC"),
    ),
    "linear with ReLU": lambda rng: Sequential(
        Linear(90, 4, dtype="float64", rng=rng), norm(4, rng, kind=BatchNorm1d, activation="relu")
    ),
    "transposed with ReLU": lambda rng: Sequential(
        ConvTranspose2d(3, 6, 3, dtype="float64", rng=rng), norm(6, rng, activation="relu")
    ),
    "nested": lambda rng: Sequential(Residual(Sequential(Conv2d(3, 3, 1, dtype="float64", rng=rng), norm(3, rng)))),
    "block": lambda rng: ResidualBlock(3, [(4, 1, 1), (4, 3, 2), (8, 1, 1)], "float64", rng),
    "own": lambda rng: Sequential(Block(rng, says=True)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_results_are_those_of_evaluation(name, rng):
    net = NETWORKS[name](rng)
    net(images(rng))  # statistics of a batch go in
    before, x = net.state_dict(), images(rng)
    folded = fold(net)
    assert not any("running" in key for key in folded.state_dict())
    assert any(isinstance(layer, Folded) for _, layer in folded.named_layers())
    assert net.training
    for key, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    net.eval()
    # float64's 1.1e-16 times sums of about 100 products of numbers of about 10
    np.testing.assert_allclose(folded(x), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["conv", "without bias", "transposed with ReLU", "block"])
def test_a_folded_network_has_gradients(name, rng):
    """Those of the network in evaluation, in a network that trains."""
    net = NETWORKS[name](rng)
    folded, outer, x = fold(net), Sequential(net.eval()), images(rng)
    outer.training = folded.training = True
    y = outer(x)
    np.testing.assert_allclose(folded(x), y, rtol=0, atol=1e-12)
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(folded.backward(dy), outer.backward(dy), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_other_dtypes_are_rounded_once(dtype, rng):
    net = Sequential(conv(rng, dtype, bias=False), norm(6, rng, dtype))
    folded = fold(net)
    state = {key: array.astype(np.float64) for key, array in net.state_dict().items()}
    scale = state["1.weight"] / np.sqrt(state["1.running_var"] + 1e-5)
    expected = (state["0.weight"] * scale.reshape(6, 1, 1, 1)).astype(dtype_of(dtype))
    np.testing.assert_array_equal(folded[0].weight.data, expected)
    bias = (state["1.bias"] - state["1.running_mean"] * scale).astype(dtype_of(dtype))
    np.testing.assert_array_equal(folded[0].bias.data.ravel(), bias)
    assert folded(images(rng, dtype)).dtype == dtype_of(dtype)


def test_what_is_not_folded(rng):
    for net in (
        Sequential(conv(rng), norm(6, rng, track_running_stats=False, affine=False)),
        Sequential(conv(rng), ReLU(), norm(6, rng)),
        Sequential(norm(3, rng), conv(rng)),
        Sequential(conv(rng, activation="relu"), norm(6, rng)),
        Sequential(Block(rng, says=False)),
    ):
        folded, x = fold(net), images(rng)
        assert list(folded.state_dict()) == list(net.state_dict())
        np.testing.assert_array_equal(folded(x), net.eval()(x))
    with pytest.raises(TypeError, match="fold: net is a function; expected a Layer"):
        fold(lambda x: x)


def test_text(rng):
    assert repr(fold(NETWORKS["without bias"](rng))) == (
        "Sequential(Conv2d(3, 6, (3, 3), groups=3, activation='relu'), Folded(), ReLU())"
    )
