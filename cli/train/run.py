"""One training run: what is trained, epoch by epoch, and how it is kept on disk and gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...backend import asarray, to_numpy
from ...capture import capture
from ...layers import CrossEntropyLoss
from ...optim import SGD, GradScaler, decay_groups
from ...weights import load_weights, read_weights, save_weights
from ..errors import CommandError, FileError, listed
from .augment import Augmentation
from .data import Data, Images, load
from .settings import CHECK, SCHEDULES, SMALL, Epoch, Settings, filled, model

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
"""Of all models but the small one, whose few weights need none."""

_TESTED = 512
_METADATA = "backstride train"
"""The name of the training state in a saved file's metadata."""


class Run:
    """A network and its optimizer after `len(history)` epochs.

    The order of the images and what happens to them are functions of the seed and the epoch, so a run that is saved and
    gone on with is bit for bit the run that was not interrupted. captured: on CuPy a step is one launch.

    CommandError where the model cannot take the images, FileError where there is something wrong with the data.
    """

    def __init__(self, settings: Settings, captured: bool = False) -> None:
        self.settings = settings
        self.data = load(settings.data)
        self.train, self.test = self.data.train, self.data.test
        self.images, self.labels = asarray(self.train.images, settings.dtype), asarray(self.train.labels)
        self.net = _model(settings, self.data)
        self.optimizer = self._optimizer()
        self.scaler = GradScaler() if settings.dtype == "float16" else None
        self.loss = CrossEntropyLoss()
        self.history: list[Epoch] = []
        self.images_per_second = 0.0
        self._whole_step: Callable[[Any, Any], Any] = capture(self._step) if captured else self._step

    def _optimizer(self) -> SGD:
        of_steps = SCHEDULES[self.settings.schedule]
        schedule = of_steps(self.settings.schedule_epochs * self.batches) if of_steps else None
        if self.settings.model == SMALL:
            return SGD(self.net.parameters(), self.settings.lr, MOMENTUM, schedule=schedule)
        groups = decay_groups(self.net)
        return SGD(groups, self.settings.lr, MOMENTUM, weight_decay=WEIGHT_DECAY, schedule=schedule)

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.train) // self.settings.batch_size)

    def epoch(self, after_batch: Callable[[], None]) -> Epoch:
        """Train on every image once, then test. Nothing in it waits for a device before the end."""
        started = time.perf_counter()
        size, augmented = self.settings.batch_size, self._augmentation()
        seed = [self.settings.seed, len(self.history)]
        order = asarray(np.random.default_rng(seed).permutation(len(self.train)))
        loss: Any = 0.0
        correct: Any = 0
        for start in range(0, len(self.train), size):
            batch = order[start : start + size]
            images, labels = self.images[batch], self.labels[batch]
            if augmented is not None:
                images = augmented(images, batch)
            step = self._whole_step if len(batch) == size else self._step
            batch_loss, batch_correct = step(images, labels)
            loss, correct = loss + batch_loss * len(batch), correct + batch_correct
            after_batch()
        mean_loss, accuracy = float(loss) / len(self.train), float(correct) / len(self.train)
        self.images_per_second = len(self.train) / (time.perf_counter() - started)
        test_loss, read = self.classify(self.test)
        self.history.append(Epoch(mean_loss, accuracy, test_loss, float((read == self.test.labels).mean())))
        return self.history[-1]

    def _augmentation(self) -> Augmentation | None:
        if self.settings.augment == "none":
            return None
        kinds = tuple(self.settings.augment.split("+"))
        shape = self.data.image_shape[1:]
        return Augmentation(kinds, self.settings.seed, len(self.history), len(self.train), (shape[0], shape[1]))

    def _step(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """The loss before the step, and how many images were read right."""
        logits = self.net(images)
        loss = self.loss(logits, labels)
        correct = (logits.argmax(axis=1) == labels).sum()
        self.net.zero_grad()
        gradient = self.loss.backward()
        if self.scaler is None:
            self.net.backward(gradient, needs_input_grad=False)
            self.optimizer.step()
        else:
            self.net.backward(self.scaler.scale(gradient), needs_input_grad=False)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss, correct

    def classify(self, images: Images) -> tuple[float, np.ndarray]:
        """The mean loss, and the class read in each image."""
        self.net.eval()
        loss, read = 0.0, []
        for start in range(0, len(images), _TESTED):
            part = slice(start, start + _TESTED)
            logits = self.net(asarray(images.images[part], self.settings.dtype))
            loss += float(self.loss(logits, asarray(images.labels[part]))) * len(logits)
            read.append(to_numpy(logits.argmax(axis=1)))
        self.net.train()
        return loss / len(images), np.concatenate(read)

    def save(self, path: Path) -> None:
        scale = [] if self.scaler is None else [float(value) for value in self.scaler.state_dict().values()]
        training = {
            "settings": asdict(self.settings),
            "history": [asdict(epoch) for epoch in self.history],
            "loss_scale": scale,
        }
        # one entry: safetensors writes several in any order, and the same run shall be the same file
        save_weights(self.net, path, optimizer=self.optimizer, metadata={_METADATA: json.dumps(training)})

    @classmethod
    def load(cls, path: Path, captured: bool = False) -> Run:
        """The run that `save` left in the file; CommandError where it is no such file, FileError where something in it
        is wrong."""
        try:
            _, metadata = read_weights(path)
        except (ValueError, OSError) as error:
            raise CommandError(_on_one_line(error)) from error
        if _METADATA not in metadata:
            raise CommandError(f"{path} was not saved by `backstride train`: it has weights and no training state")
        training = _parsed(path, metadata[_METADATA])
        run = cls(Settings(**training["settings"]), captured)
        run.history = [Epoch(**epoch) for epoch in training["history"]]
        try:
            load_weights(run.net, path, optimizer=run.optimizer)
            if run.scaler is not None:
                run.scaler.load_state_dict(dict(zip(run.scaler.state_dict(), training["loss_scale"], strict=False)))
        except ValueError as error:
            raise FileError(_on_one_line(error)) from error
        return run


def _model(settings: Settings, data: Data) -> Any:
    """The network, which has taken an image of the data."""
    channels, height, width = data.image_shape
    try:
        net = model(settings, data.image_shape, len(data.classes))
        net.eval()(asarray(np.zeros((1, channels, height, width), np.float32), settings.dtype))
    except ValueError as error:
        what = f"{settings.model} cannot take images of {channels}x{height}x{width}"
        raise CommandError(f"argument --model: {what}: {_on_one_line(error)}") from error
    return net.train()


def _parsed(path: Path, text: str) -> Any:
    """The training state in a file's metadata; FileError that lists what is wrong with it."""
    try:
        training = filled(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: the metadata {_METADATA!r} is damaged: {error}") from error
    problems = list(CHECK("training", training))
    if problems:
        raise FileError(f"{path}: {listed(problems)}")
    return training


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
