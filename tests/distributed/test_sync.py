"""Batch normalisation over all processes has the numbers of the whole batch in one."""

from __future__ import annotations

import numpy as np
import pytest
import thread_ranks

from backstride.distributed import DistributedOptimizer, communicator
from backstride.layers import BatchNorm2d, Conv2d, Layer, MSELoss, Sequential
from backstride.optim import SGD


class Block(Layer):
    def __init__(self, **options):
        self.conv = Conv2d(2, 2, 1, rng=0, dtype=options["dtype"])
        self.norm = BatchNorm2d(2, activation="relu", **options)
        if self.norm.weight is not None:
            self.norm.weight.data[...] = (0.5, 2)

    def forward(self, x):
        return self.norm(self.conv(x), x)

    def backward(self, dy):
        dx, of_shortcut = self.norm.backward(dy)
        return self.conv.backward(dx) + of_shortcut


def trained(rank, shards, x, target, **options):
    """The gradients and buffers after a step on one shard for each process."""
    net = Sequential(Block(**options), BatchNorm2d(2, **options))
    optimizer, loss, dx = DistributedOptimizer(SGD(net.parameters(), lr=0.1), rank, shards), MSELoss(), None
    for ours, wanted in optimizer.shards((x, target)):
        loss(net(ours), wanted)
        dx = net.backward(loss.backward()) * (len(ours) / len(x))
    optimizer.step()
    return dx, net.state_dict()


@pytest.mark.parametrize("samples", [8, 7])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 1e-4), ("float16", 2e-2)])
def test_the_whole_batch(samples, affine, dtype, atol, rng):
    """The channels' mean is 100 deviations: atol are some roundings of sums and gradients of size 1, and of x."""
    offset = 100 if dtype != "float16" else 1
    x = (rng.standard_normal((samples, 2, 3, 2)) + offset).astype(dtype)
    target = rng.standard_normal(x.shape).astype(dtype)
    options = {"dtype": dtype, "affine": affine}
    dx, state = trained(communicator("single"), 1, x, target, **options)
    results, _ = thread_ranks.run(4, lambda rank: trained(rank, 4, x, target, sync=True, **options))
    np.testing.assert_allclose(np.concatenate([part for part, _ in results]), dx, rtol=0, atol=atol)
    for name, array in state.items():
        np.testing.assert_allclose(results[0][1][name], array, rtol=atol, atol=atol, err_msg=name)
        assert {found[name].tobytes() for _, found in results} == {results[0][1][name].tobytes()}


def test_shards_are_not_the_whole_batch(rng):
    """What the test above would not see if it compared a thing with itself."""
    x, target = rng.standard_normal((2, 8, 2, 3, 2))
    dx, _ = trained(communicator("single"), 1, x, target, dtype="float64")
    results, _ = thread_ranks.run(4, lambda rank: trained(rank, 4, x, target, dtype="float64"))
    assert abs(np.concatenate([part for part, _ in results]) - dx).max() > 1e-3


@pytest.mark.parametrize(("shards", "samples"), [(4, 8), (2, 1)])
def test_where_it_cannot_be(shards, samples, rng):
    x = rng.standard_normal((samples, 2, 3, 2))
    with pytest.raises(ValueError, match=r"BatchNorm2d\(2.*sync=True\): sync is True, with several .*; expected one"):
        thread_ranks.run(2, lambda rank: trained(rank, shards, x, x, sync=True, dtype="float64"))


def test_elsewhere_it_is_the_plain_layer(rng):
    x = rng.standard_normal((4, 2, 3, 2))
    assert BatchNorm2d(2, dtype="float64", sync=True)(x).tobytes() == BatchNorm2d(2, dtype="float64")(x).tobytes()
