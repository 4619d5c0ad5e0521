"""The network of the text, operation by operation: convolution, max pooling, fully connected with samples as columns.

Every shape that the text gives, and every gradient against PyTorch's autograd in float64.
"""

from __future__ import annotations

import numpy as np
import pytest

from backstride import kernels


@pytest.fixture
def network(path):
    """Every array of one forward and backward pass, by name."""
    rng = np.random.default_rng(4)
    a = {
        "x": rng.standard_normal((10, 3, 29, 28)),
        "w2": rng.standard_normal((2, 3, 3, 2)),
        "b2": rng.standard_normal((2, 1, 1)),
        "w4": rng.standard_normal((32, 50)),
        "b4": rng.standard_normal((32, 1)),
        "dz4": rng.standard_normal((32, 10)),
    }
    a["z2"] = path.run(kernels.conv2d, a["x"], a["w2"], a["b2"], stride=2)
    a["z3"], taps = path.run(kernels.max_pool2d, a["z2"], 2, stride=3)
    columns = np.ascontiguousarray(a["z3"].reshape(10, 50).T)
    a["z4"] = path.run(kernels.linear, columns, a["w4"], a["b4"], batch_axis=1)

    a["dw4"] = path.run(kernels.linear_weight_grad, a["dz4"], columns, batch_axis=1)
    a["db4"] = path.run(kernels.linear_bias_grad, a["dz4"], batch_axis=1)
    dcolumns = path.run(kernels.linear_input_grad, a["dz4"], a["w4"], batch_axis=1)
    a["dz3"] = np.ascontiguousarray(dcolumns.T).reshape(10, 2, 5, 5)
    a["dz2"] = path.run(kernels.max_pool2d_grad, a["dz3"], taps, a["z2"].shape, 2, stride=3)
    a["dw2"] = path.run(kernels.conv2d_weight_grad, a["dz2"], a["x"], a["w2"].shape, stride=2)
    a["db2"] = path.run(kernels.conv2d_bias_grad, a["dz2"])
    a["dx"] = path.run(kernels.conv2d_input_grad, a["dz2"], a["w2"], a["x"].shape, stride=2)
    return a


def test_every_shape_of_the_text(network):
    assert {name: array.shape for name, array in network.items()} == {
        "x": (10, 3, 29, 28),
        "w2": (2, 3, 3, 2),
        "b2": (2, 1, 1),
        "z2": (10, 2, 14, 14),
        "z3": (10, 2, 5, 5),
        "w4": (32, 50),
        "b4": (32, 1),
        "z4": (32, 10),
        "dz4": (32, 10),
        "dw4": (32, 50),
        "db4": (32, 1),
        "dz3": (10, 2, 5, 5),
        "dz2": (10, 2, 14, 14),
        "dw2": (2, 3, 3, 2),
        "db2": (2, 1, 1),
        "dx": (10, 3, 29, 28),
    }


def test_every_gradient_is_autograds(network, torch):
    """1e-12 of the largest magnitude: sums of up to 1,960 products in float64, in two orders."""
    t = {n: torch.tensor(network[n], requires_grad=True) for n in ("x", "w2", "b2", "w4", "b4")}
    z2 = torch.nn.functional.conv2d(t["x"], t["w2"], t["b2"].reshape(2), stride=2)
    z3 = torch.nn.functional.max_pool2d(z2, 2, stride=3)
    z4 = t["w4"] @ z3.reshape(10, 50).T + t["b4"]
    for inner in (z2, z3):
        inner.retain_grad()
    z4.backward(torch.tensor(network["dz4"]))

    expected = {"z2": z2, "z3": z3, "z4": z4, "dz2": z2.grad, "dz3": z3.grad, "dx": t["x"].grad}
    expected |= {f"d{name}": t[name].grad for name in ("w2", "b2", "w4", "b4")}
    for name, tensor in expected.items():
        exact = tensor.detach().numpy()
        np.testing.assert_allclose(network[name], exact, rtol=0, atol=1e-12 * np.abs(exact).max(), err_msg=name)
