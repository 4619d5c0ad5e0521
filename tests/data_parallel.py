"""A small training whose bits tests compare: batch normalisation, dropout, augmentation, uneven batches."""

from __future__ import annotations

import hashlib

import numpy as np

import backstride
from backstride.distributed import DistributedOptimizer
from backstride.layers import BatchNorm2d, Conv2d, CrossEntropyLoss, Dropout, Flatten, Linear, ReLU, Sequential
from backstride.optim import SGD, GradScaler, clip_grad_norm

SAMPLES, CLASSES = 45, 3


def network(dtype="float32", width=6, dropout_seed=2):
    return Sequential(
        Conv2d(1, width, 3, padding=1, bias=False, dtype=dtype, rng=0),
        BatchNorm2d(width, activation="relu", dtype=dtype),
        Sequential(Conv2d(width, width, 3, stride=2, dtype=dtype, rng=1), ReLU()),
        Dropout(0.3, rng=dropout_seed),
        Flatten(),
        Linear(width * 9, CLASSES, dtype=dtype, rng=3),
    )


def samples(dtype="float32"):
    rng = np.random.default_rng(7)
    return rng.standard_normal((SAMPLES, 1, 8, 8)).astype(dtype), rng.integers(0, CLASSES, SAMPLES)


class Training:
    """Batches of 14 and a rest of 3, in an order of each epoch, some of them mirrored by (epoch, sample)."""

    def __init__(self, communicator, shards, dtype="float32", with_net=True, optimizer=SGD, net=None):
        self.dtype, self.net = dtype, net or network(dtype)
        own = optimizer(self.net.parameters(), 0.05, **({"momentum": 0.9} if optimizer is SGD else {}))
        self.optimizer = DistributedOptimizer(own, communicator, shards, net=self.net if with_net else None)
        self.scaler = GradScaler(init_scale=2.0**17, growth_interval=3) if dtype == "float16" else None
        self.images, self.labels = samples(dtype)
        self.loss, self.norms = CrossEntropyLoss(), []

    def batch(self, step, size=14):
        epoch, place = divmod(step, 4)
        numbers = np.random.default_rng(epoch).permutation(SAMPLES)[place * size : (place + 1) * size]
        mirrored = np.array([np.random.default_rng([epoch, n]).integers(2) for n in numbers], bool)
        images = self.images[numbers]
        images[mirrored] = images[mirrored, ..., ::-1]
        return backstride.asarray(images), backstride.asarray(self.labels[numbers])

    def step(self, step):
        for x, labels in self.optimizer.shards(self.batch(step)):
            self.loss(self.net(x), labels)
            gradient = self.loss.backward()
            gradient = gradient if self.scaler is None else self.scaler.scale(gradient)
            self.net.backward(gradient, needs_input_grad=False)
        if self.scaler is not None:
            self.scaler.unscale(self.optimizer)
        self.norms.append(clip_grad_norm(self.optimizer, 1.0))
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def digest(self):
        """Of weights, buffers, the optimizer's state and the norms of all gradients."""
        held = {**self.net.state_dict(), **self.optimizer.state_dict()}
        held |= {f"norm {place}": norm for place, norm in enumerate(self.norms)}
        found = hashlib.sha256()
        for name, array in held.items():
            found.update(name.encode() + backstride.to_numpy(array).tobytes())
        return found.hexdigest()
