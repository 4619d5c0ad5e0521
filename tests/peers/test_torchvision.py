"""The models beside torchvision's: state_dicts both ways, logits, gradients, and ten steps of training, in float64."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from backstride import load_weights, models, save_weights
from backstride.layers import CrossEntropyLoss, Dropout
from backstride.optim import SGD

torch = pytest.importorskip("torch", reason="parity with torchvision needs torch")


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """torchvision, whose import asks for operators that its wheel for another torch does not bring."""
    try:
        library = torch.library.Library("torchvision", "DEF")
        for name in "nms qnms roi_align roi_pool ps_roi_align ps_roi_pool deform_conv2d".split():
            library.define(f"{name}(Tensor a) -> Tensor")
            library.define(f"_{name}_backward(Tensor a) -> Tensor")
    except RuntimeError:
        assert "torchvision" in sys.modules
    return pytest.importorskip("torchvision", reason="the models' peer is torchvision")


# name: extents of the images. Batch normalisation over few values is badly conditioned, so that residual networks get
# images whose last planes are of 2x2.
MODELS = {
    "resnet18": (4, 3, 64, 48),
    "resnet34": (4, 3, 64, 48),
    "resnet50": (4, 3, 64, 48),
    "mobilenet_v2": (4, 3, 64, 48),
    "vgg11": (2, 3, 32, 40),
    "vgg16": (2, 3, 32, 40),
}


@pytest.fixture(params=MODELS)
def pair(request, torchvision):
    """Ours with torchvision's weights, and torchvision's, neither of which drops anything out."""
    name = request.param
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=10).double()
    ours = getattr(models, name)(10, dtype="float64", rng=0)
    ours.load_state_dict(theirs.state_dict())
    for _, layer in ours.named_layers():
        if isinstance(layer, Dropout):
            layer.eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return ours, theirs, MODELS[name]


def batch(rng, shape):
    return rng.standard_normal(shape), rng.integers(0, 10, shape[0])


def assert_same_logits(found, expected):
    """To 1e-9 of the largest: many layers' roundings of 1.1e-16, through normalisations over few values."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


def losses(ours, theirs, x, labels):
    """One pass on both sides: (our loss, theirs, our logits, theirs)."""
    loss = CrossEntropyLoss()
    logits, expected = ours(x), theirs(torch.from_numpy(x))
    value = loss(logits, labels)
    of_theirs = torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels))
    ours.zero_grad()
    theirs.zero_grad()
    ours.backward(loss.backward(), needs_input_grad=False)
    of_theirs.backward()
    return float(value), of_theirs.item(), logits, expected.detach()


def test_torchvisions_networks(pair, rng, tmp_path):
    from safetensors.torch import load_file

    ours, theirs, shape = pair
    _, _, *logits = losses(ours, theirs, *batch(rng, shape))
    assert_same_logits(*logits)
    for name, parameter in theirs.named_parameters():
        found = dict(ours.named_parameters())[name].grad.reshape(parameter.shape)
        # a shift that the next normalisation takes away has the gradient 0, of which roundings of 1e-15 are left
        bound = 1e-7 * max(float(parameter.grad.abs().max()), 1e-6)
        np.testing.assert_allclose(found, parameter.grad, rtol=0, atol=bound, err_msg=name)
    # steps so small that roundings do not grow with them: at 1e-3 they grow forty-fold a step in resnet50
    optimizer = SGD(ours.parameters(), lr=1e-5, momentum=0.9)
    reference = torch.optim.SGD(theirs.parameters(), lr=1e-5, momentum=0.9)
    for _ in range(10):
        value, expected, *_ = losses(ours, theirs, *batch(rng, shape))
        assert value == pytest.approx(expected, rel=0, abs=1e-6)
        optimizer.step()
        reference.step()
    assert list(ours.state_dict()) == list(theirs.state_dict())

    save_weights(ours, tmp_path / "net.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "net.safetensors"))
    ours.eval(), theirs.eval()
    x, _ = batch(rng, shape)
    assert_same_logits(ours(x), theirs(torch.from_numpy(x)).detach())
    load_weights(ours, tmp_path / "net.safetensors")
