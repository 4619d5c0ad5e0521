"""The models: shapes, names and numbers of parameters, first weights, training, copies in evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import fold, models
from backstride.layers import CrossEntropyLoss
from backstride.optim import SGD

# Parameters and state_dict entries of torchvision's networks (its documentation, and counted).
COUNTS = {"resnet18": (11_689_512, 122), "resnet50": (25_557_032, 320), "mobilenet_v2": (3_504_872, 314)}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_torchvisions(name):
    net = getattr(models, name)(rng=0)
    assert (sum(p.data.size for p in net.parameters()), len(net.state_dict())) == COUNTS[name]


def test_names_are_torchvisions():
    names = list(models.resnet18(10, rng=0).state_dict())
    assert names[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
    ]
    assert "layer2.0.downsample.1.running_var" in names
    assert "layer1.0.downsample.0.weight" not in names
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert "layer1.0.downsample.0.weight" in models.resnet50(10, rng=0).state_dict()


def test_lenet5(rng):
    net = models.lenet5(10, in_channels=1, rng=0)
    assert sum(p.data.size for p in net.parameters()) == 61_706
    assert net(np.zeros((2, 1, 32, 32), np.float32)).shape == (2, 10)
    small = models.lenet5(10, in_channels=1, small_images=True, rng=0)
    assert small(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)
    assert list(small.state_dict()) == list(net.state_dict())


def test_mobilenet_v2(rng):
    net = models.mobilenet_v2(10, in_channels=1, small_images=True, rng=0).eval()
    names = list(net.state_dict())
    assert {"features.0.1.running_var", "features.1.conv.0.0.weight", "features.18.1.bias"} < set(names)
    assert names[-2:] == ["classifier.1.weight", "classifier.1.bias"]
    assert net["features"][2].conv[1][0].options["groups"] == 96
    x = rng.standard_normal((1, 1, 8, 8)).astype(np.float32)
    folded = fold(net)
    assert not any("running" in name for name in folded.state_dict())
    # float32 rounds to 6e-8 in each of 53 layers
    np.testing.assert_allclose(folded(x), net(x), rtol=0, atol=1e-5 * np.abs(net(x)).max())


def test_vgg(rng):
    net = models.vgg11(10, in_channels=1, small_images=True, rng=0)
    shapes = {name: array.shape for name, array in net.state_dict().items()}
    assert shapes["features.18.weight"] == (512, 512, 3, 3)
    assert (shapes["classifier.0.weight"], shapes["classifier.6.bias"]) == ((4096, 512), (10,))
    assert net.eval()(np.zeros((1, 1, 16, 16), np.float32)).shape == (1, 10)


def test_first_weights():
    """Normal, of torchvision's deviations: 10,000 and more numbers, of which the deviation is within 4% by 5 sigma."""
    net = models.mobilenet_v2(100, rng=0)
    for weight, expected in (
        (net["features"][18][0].weight, (2 / 1280) ** 0.5),
        (net["features"][17].conv[1][0].weight, (2 / (960 * 9)) ** 0.5),
        (net["classifier"][1].weight, 0.01),
    ):
        assert abs(weight.data.std() / expected - 1) < 0.04
        assert abs(weight.data.mean()) < 0.05 * expected
    assert not net["classifier"][1].bias.data.any()
    again = models.mobilenet_v2(100, rng=0).state_dict()
    assert all((array == again[name]).all() for name, array in net.state_dict().items())


def test_unet_trains_on_segmentation():
    """Squares and discs of one brightness in noise, three classes: the cross entropy falls from log 3 below 0.3."""
    rng = np.random.default_rng(0)
    labels = np.zeros((4, 16, 16), np.int64)
    row, column = np.mgrid[:16, :16]
    for place, label in enumerate(labels):
        label[2 + place : 8 + place, 1:7] = 1
        label[(row - 10) ** 2 + (column - 5 - 2 * place) ** 2 < 12] = 2
    images = ((labels[:, np.newaxis] > 0) + 0.5 * rng.standard_normal((4, 1, 16, 16))).astype(np.float32)
    net = models.unet(3, in_channels=1, small_images=True, rng=0)
    loss, optimizer = CrossEntropyLoss(), SGD(net.parameters(), lr=0.03, momentum=0.9)
    losses = []
    for _ in range(6):
        losses.append(float(loss(net(images), labels)))
        net.zero_grad()
        net.backward(loss.backward(), needs_input_grad=False)
        optimizer.step()
    print(losses)
    assert losses[-1] < 0.3
    names = list(net.state_dict())
    assert names[0] == "level.encode.conv1.weight"
    assert "level.skip.down.level.skip.down.level.conv1.weight" in names
    assert names[-2:] == ["head.weight", "head.bias"]
    with pytest.raises(
        ValueError, match=r"Concatenate: the shape of what branch down gives is \(1, 128, 8, 8\); expected"
    ):
        net(np.zeros((1, 1, 18, 16), np.float32))
