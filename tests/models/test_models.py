"""The models: shapes, names and numbers of parameters, first weights, training, copies in evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import models

# Parameters and state_dict entries of torchvision's networks (its documentation, and counted).
COUNTS = {"resnet18": (11_689_512, 122), "resnet34": (21_797_672, 218), "resnet50": (25_557_032, 320)}


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
