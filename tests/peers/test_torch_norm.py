"""Normalisation layers against PyTorch's: values, every gradient, and running statistics after ten steps."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import layers

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")

# Of the largest magnitude. float64 and float32: sums of some hundred numbers in orders of their own. 16 bits: PyTorch
# rounds the result once as well, to 2**-11 and 2**-8 of an element, and a residual is added to what was rounded.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
KINDS = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
STEPS = 10


def tensor(a, dtype):
    return torch.from_numpy(np.asarray(a, np.float64)).to(getattr(torch, dtype)).requires_grad_()


def ours(t):
    """The same numbers for this package; bfloat16 is ml_dtypes'."""
    detached = t.detach()
    if detached.dtype == torch.bfloat16:
        ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
        return detached.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return detached.numpy()


def assert_same(name, found, expected, dtype):
    expected = expected.detach().double().numpy()
    assert found.shape == expected.shape, name
    error = np.abs(found.astype(np.float64) - expected).max(initial=0)
    assert error <= TOLERANCES[dtype] * np.abs(expected).max(initial=1), f"{name}: {error}"


def pair(ours, theirs, rng, dtype):
    """Both layers with the same random weights; PyTorch's with parameters of the dtype that ours has."""
    wide = "float64" if dtype == "float64" else "float32"
    theirs = theirs.to(getattr(torch, wide))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare_step(layer, theirs, shape, rng, dtype, activation=None, residual=False):
    x, dy, added = (tensor(rng.standard_normal(shape), dtype) for _ in range(3))
    y = theirs(x) + added if residual else theirs(x)
    y = y.relu() if activation == "relu" else y
    layer.zero_grad()
    theirs.zero_grad()
    y.backward(dy.detach())
    found = layer(ours(x), *([ours(added)] if residual else []))
    assert_same("y", found, y, dtype)
    gradients = layer.backward(ours(dy))
    dx, dresidual = gradients if residual else (gradients, None)
    assert_same("dx", dx, x.grad, dtype)
    if residual:
        assert_same("dresidual", dresidual, added.grad, dtype)
    for (name, parameter), theirs_ in zip(layer.named_parameters(), theirs.parameters(), strict=True):
        assert_same(name, parameter.grad, theirs_.grad, dtype)


def batch_norms(shape, rng, dtype, **options):
    own = {name: options[name] for name in options if name != "activation"}
    kind = KINDS[len(shape)]
    return pair(
        getattr(layers, kind)(shape[1], dtype=dtype, **options), getattr(torch.nn, kind)(shape[1], **own), rng, dtype
    )


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(9, 4), (6, 4, 5), (5, 3, 4, 7), (3, 4, 2, 3, 5)])
def test_batch_norm(shape, dtype, rng):
    compare_step(*batch_norms(shape, rng, dtype), shape, rng, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_fused_batch_norm(activation, residual, affine, dtype, rng):
    layer, theirs = batch_norms((5, 3, 4, 7), rng, dtype, affine=affine, activation=activation)
    compare_step(layer, theirs, (5, 3, 4, 7), rng, dtype, activation, residual)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("momentum", [0.1, 0.7, 1, 0, None])
def test_running_statistics(momentum, dtype, rng):
    """Within a bound of float32's: what is averaged are statistics, which 16 bits keep in float32."""
    wide = "float64" if dtype == "float64" else "float32"
    layer, theirs = batch_norms((4, 3, 2, 3), rng, dtype, momentum=momentum)
    for _ in range(STEPS):
        x = tensor(rng.standard_normal((4, 3, 2, 3)) * 3 + 5, dtype)
        assert_same("y", layer(ours(x)), theirs(x), dtype)
        for (name, buffer), expected in zip(layer.named_buffers(), theirs.buffers(), strict=True):
            assert_same(name, buffer.data, expected, wide)
    layer.eval()
    theirs.eval()
    x = tensor(rng.standard_normal((2, 3, 5, 1)), dtype)
    assert_same("y in evaluation", layer(ours(x)), theirs(x), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_evaluation_inside_a_net_that_trains(dtype, rng):
    layer, theirs = batch_norms((4, 3, 5, 2), rng, dtype)
    for _ in range(2):
        x = tensor(rng.standard_normal((4, 3, 5, 2)), dtype)
        layer(ours(x))
        theirs(x)
    net = layers.Sequential(layer)
    layer.eval()
    theirs.eval()
    x, dy = (tensor(rng.standard_normal((4, 3, 5, 2)), dtype) for _ in range(2))
    y = theirs(x)
    y.backward(dy.detach())
    assert_same("y", net(ours(x)), y, dtype)
    assert_same("dx", net.backward(ours(dy)), x.grad, dtype)
    assert_same("weight", layer.weight.grad, theirs.weight.grad, dtype)
    assert_same("bias", layer.bias.grad, theirs.bias.grad, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("affine", [True, False])
def test_group_and_layer_norm(affine, dtype, rng):
    """Of more than a few elements each: with two of them dx is the difference of all but equal numbers."""
    for shape, groups in (((4, 12), 2), ((3, 6, 5), 2), ((2, 6, 4, 7), 6), ((2, 4, 2, 3, 6), 1)):
        layer = layers.GroupNorm(groups, shape[1], affine=affine, dtype=dtype)
        compare_step(*pair(layer, torch.nn.GroupNorm(groups, shape[1], affine=affine), rng, dtype), shape, rng, dtype)
        for last in (shape[1:], shape[-1:]):
            layer = layers.LayerNorm(last, affine=affine, dtype=dtype)
            theirs = torch.nn.LayerNorm(last, elementwise_affine=affine)
            compare_step(*pair(layer, theirs, rng, dtype), shape, rng, dtype)


def test_an_empty_batch_leaves_the_running_statistics_alone(rng):
    layer, theirs = batch_norms((0, 3, 2, 2), rng, "float32")
    x = tensor(np.zeros((0, 3, 2, 2)), "float32")
    assert layer(ours(x)).shape == theirs(x).shape
    for (name, buffer), expected in zip(layer.named_buffers(), theirs.buffers(), strict=True):
        assert_same(name, buffer.data, expected, "float32")
