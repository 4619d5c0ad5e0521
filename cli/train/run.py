"""One training run on the digits: what is trained, epoch by epoch, and how it is kept on disk and gone on with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._state import Check, is_int, is_number, items, record, scalar
from ...backend import asarray, to_numpy
from ...layers import Conv2d, CrossEntropyLoss, Linear, MaxPool2d, ReLU, Sequential
from ...optim import SGD
from ...weights import load_weights, read_weights, save_weights
from ..errors import CommandError, FileError, listed
from .data import Digits, load_digits

MOMENTUM = 0.9
FILTERS = 48

_METADATA = "backstride train"
"""The name of the training state in a saved file's metadata."""


@dataclass(frozen=True)
class Settings:
    """What decides every bit of a run, besides the number of its epochs."""

    batch_size: int = 32
    lr: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch's training images while it ran, and over the test images after it."""

    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float


def network(rng: np.random.Generator) -> Sequential:
    """The shape of the textbook network, for 8x8 digits: a strided convolution with a rectangular kernel, max pooling,
    fully connected."""
    return Sequential(
        Conv2d(1, FILTERS, (5, 4), stride=2, padding=2, rng=rng),  # (N, 1, 8, 8) -> (N, 48, 4, 5)
        ReLU(),
        MaxPool2d(2, stride=1),  # -> (N, 48, 3, 4)
        Linear(FILTERS * 3 * 4, 10, rng=rng),
    )


class Run:
    """A network and its optimizer after `len(history)` epochs.

    The order of the images is a function of the seed and the epoch, so a run that is saved and gone on with is bit for
    bit the run that was not interrupted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.train, self.test = load_digits()
        self.images, self.labels = asarray(self.train.images), asarray(self.train.labels)
        self.net = network(np.random.default_rng(settings.seed))
        self.optimizer = SGD(self.net.parameters(), settings.lr, momentum=MOMENTUM)
        self.loss = CrossEntropyLoss()
        self.history: list[Epoch] = []

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.train) // self.settings.batch_size)

    def epoch(self, after_batch: Callable[[], None]) -> Epoch:
        """Train on every image once, then test. Nothing in it waits for a device before the end."""
        seed, size = self.settings.seed, self.settings.batch_size
        order = asarray(np.random.default_rng([seed, len(self.history)]).permutation(len(self.train)))
        loss: Any = 0.0
        correct: Any = 0
        for start in range(0, len(self.train), size):
            batch = order[start : start + size]
            logits, labels = self.net(self.images[batch]), self.labels[batch]
            loss = loss + self.loss(logits, labels) * len(batch)
            correct = correct + (logits.argmax(axis=1) == labels).sum()
            self.net.zero_grad()
            self.net.backward(self.loss.backward(), needs_input_grad=False)
            self.optimizer.step()
            after_batch()
        test_loss, read = self.classify(self.test)
        self.history.append(
            Epoch(
                float(loss) / len(self.train),
                float(correct) / len(self.train),
                test_loss,
                float((read == self.test.labels).mean()),
            )
        )
        return self.history[-1]

    def classify(self, digits: Digits) -> tuple[float, np.ndarray]:
        """The mean loss, and the digit read in each image."""
        self.net.eval()
        logits = self.net(asarray(digits.images))
        self.net.train()
        return float(self.loss(logits, asarray(digits.labels))), to_numpy(logits.argmax(axis=1))

    def save(self, path: Path) -> None:
        training = {"settings": asdict(self.settings), "history": [asdict(epoch) for epoch in self.history]}
        # one entry: safetensors writes several in any order, and the same run shall be the same file
        save_weights(self.net, path, optimizer=self.optimizer, metadata={_METADATA: json.dumps(training)})

    @classmethod
    def load(cls, path: Path) -> Run:
        """The run that `save` left in the file; CommandError where it is no such file, FileError where something in it
        is wrong."""
        try:
            _, metadata = read_weights(path)
        except (ValueError, OSError) as error:
            raise CommandError(_on_one_line(error)) from error
        if _METADATA not in metadata:
            raise CommandError(f"{path} was not saved by `backstride train`: it has weights and no training state")
        training = _parsed(path, metadata[_METADATA])
        run = cls(Settings(**training["settings"]))
        run.history = [Epoch(**epoch) for epoch in training["history"]]
        try:
            load_weights(run.net, path, optimizer=run.optimizer)
        except ValueError as error:
            raise FileError(_on_one_line(error)) from error
        return run


_LOSS = scalar("a number of at least 0, or NaN", lambda loss: is_number(loss) and not loss < 0)
_SHARE = scalar("a number from 0 to 1", lambda share: is_number(share) and 0 <= share <= 1)
_CHECK: Check = record(
    settings=record(
        batch_size=scalar("an int of at least 1", lambda size: is_int(size, 1)),
        lr=scalar("a finite number above 0", lambda lr: is_number(lr) and 0 < lr < math.inf),
        seed=scalar("an int of at least 0", lambda seed: is_int(seed, 0)),
    ),
    history=items(record(loss=_LOSS, accuracy=_SHARE, test_loss=_LOSS, test_accuracy=_SHARE)),
)
"""What a saved training state must be."""


def _parsed(path: Path, text: str) -> Any:
    """The training state in a file's metadata; FileError that lists what is wrong with it."""
    try:
        training = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: the metadata {_METADATA!r} is damaged: {error}") from error
    problems = list(_CHECK("training", training))
    if problems:
        raise FileError(f"{path}: {listed(problems)}")
    return training


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
