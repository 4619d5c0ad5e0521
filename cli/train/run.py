"""One training run: what is trained, epoch by epoch, and how it is kept on disk and gone on with."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...backend import asarray, to_numpy
from ...capture import capture
from ...distributed import Communicator, DistributedOptimizer
from ...distributed.agreement import check_facts
from ...distributed.parts import borders
from ...distributed.single import Single
from ...layers import CrossEntropyLoss, Dropout
from ...optim import SGD, GradScaler, decay_groups
from ...weights import load_weights, read_weights, save_weights
from ..errors import CommandError, FileError, writing
from ..launcher import on_all
from .augment import Augmentation
from .data import Data, Images, load
from .pace import Pace
from .settings import SCHEDULES, SMALL, Epoch, Settings, model
from .state import METADATA, check_fits, compare_machines, parsed, text_of

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
"""Of all models but the small one, whose few weights need none."""

_TESTED = 512


class Run:
    """A network and its optimizer after `len(history)` epochs, and `batch` steps of the next.

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
        self._begin_epoch()
        self.join(Single())
        self._whole_step: Callable[[Any, Any], Any] = capture(self._step) if captured else self._step

    def join(self, communicator: Communicator) -> None:
        """Share the work with the other processes of the communicator, which have the same run. ValueError where their
        number does not suit the shards, or their runs differ."""
        self.communicator, self.pace = communicator, Pace(communicator.size)
        self.sharded: DistributedOptimizer | None = None
        if self.settings.shards > 1:
            check_facts(communicator.gather(self._facts()))
            compare_machines(communicator)
            self.sharded = DistributedOptimizer(self.optimizer, communicator, self.settings.shards, net=self.net)
            self.sharded.batches = self.steps

    def _facts(self) -> dict[str, str]:
        """What must be the same in all processes, besides what DistributedOptimizer looks at."""
        data = zlib.crc32(self.train.images.tobytes(), zlib.crc32(self.train.labels.tobytes()))
        return {"the run": repr(self.settings), "its step": str(self.steps), "the checksum of its data": f"{data:x}"}

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

    @property
    def steps(self) -> int:
        return len(self.history) * self.batches + self.batch

    def epoch(self, after_batch: Callable[[], object]) -> Epoch | None:
        """Train on the images of an epoch that are left, then test. Where after_batch, which is called after each step,
        returns something true, the epoch is left there and None returned. One process does not wait for its device
        before the end."""
        started, first = time.perf_counter(), self.batch
        order, augmented, left = self._order(), self._augmentation(), False
        learn = self._learn if self.sharded is None else self._learn_shards
        while self.batch < self.batches:
            start = self.batch * self.settings.batch_size
            with self.pace.step(self.batch):
                learn(order[start : start + self.settings.batch_size], augmented)
            self.batch += 1
            left = bool(after_batch())
            if left:
                break
        loss, correct = self._sums()  # waits for the device
        learned = min(self.batch * self.settings.batch_size, len(self.train)) - first * self.settings.batch_size
        self.images_per_second = max(0, learned) / (time.perf_counter() - started)
        if left:
            return None
        test_loss, read = self.classify(self.test)
        means = sum(loss) / len(self.train), sum(correct) / len(self.train)
        self.history.append(Epoch(*means, test_loss, float((read == self.test.labels).mean())))
        self._begin_epoch()
        return self.history[-1]

    def _begin_epoch(self) -> None:
        self.batch = 0
        self.losses: list[Any] = [0.0] * self.settings.shards
        self.correct: list[Any] = [0] * self.settings.shards

    def _order(self) -> Any:
        """The numbers of the images in the order in which this epoch meets them: of the seed and the epoch alone."""
        seed = [self.settings.seed, len(self.history)]
        return asarray(np.random.default_rng(seed).permutation(len(self.train)))

    def _augmentation(self) -> Augmentation | None:
        if self.settings.augment == "none":
            return None
        kinds = tuple(self.settings.augment.split("+"))
        shape = self.data.image_shape[1:]
        return Augmentation(kinds, self.settings.seed, len(self.history), len(self.train), (shape[0], shape[1]))

    def _learn(self, numbers: Any, augmented: Augmentation | None) -> None:
        """One step on the images of these numbers."""
        step = self._whole_step if len(numbers) == self.settings.batch_size else self._step
        loss, correct = step(*self._examples(numbers, augmented))
        self._count(0, len(numbers), loss, correct)

    def _learn_shards(self, numbers: Any, augmented: Augmentation | None) -> None:
        """One step on the images of these numbers, of which this process learns from its shards."""
        assert self.sharded is not None
        parts = borders(len(numbers), self.settings.shards)
        own = [shard for shard in self._own_shards() if parts[shard].start < parts[shard].stop]
        for shard, part in zip(own, self.sharded.shards(numbers), strict=True):
            loss, correct = self._backpropagate(*self._examples(part, augmented))
            self._count(shard, len(part), loss, correct)
        with self.pace.exchange():
            self.sharded.reduce()
        self._update(self.sharded)

    def _own_shards(self) -> range:
        each = self.settings.shards // self.communicator.size
        return range(self.communicator.rank * each, (self.communicator.rank + 1) * each)

    def _examples(self, numbers: Any, augmented: Augmentation | None) -> tuple[Any, Any]:
        images = self.images[numbers]
        return images if augmented is None else augmented(images, numbers), self.labels[numbers]

    def _count(self, shard: int, images: int, loss: Any, correct: Any) -> None:
        self.losses[shard] = self.losses[shard] + loss * images
        self.correct[shard] = self.correct[shard] + correct

    def _sums(self) -> tuple[list[float], list[int]]:
        """Of the epoch so far, by shard, whichever process has it: the losses of its images, and how many were read
        right."""
        found = [(float(self.losses[shard]), int(self.correct[shard])) for shard in self._own_shards()]
        pairs = [pair for own in self.communicator.gather(found) for pair in own]
        return [loss for loss, _ in pairs], [correct for _, correct in pairs]

    def _step(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """The loss before the step, and how many images were read right."""
        self.net.zero_grad()
        found = self._backpropagate(images, labels)
        self._update(self.optimizer)
        return found

    def _backpropagate(self, images: Any, labels: Any) -> tuple[Any, Any]:
        logits = self.net(images)
        loss = self.loss(logits, labels)
        correct = (logits.argmax(axis=1) == labels).sum()
        gradient = self.loss.backward()
        if self.scaler is not None:
            gradient = self.scaler.scale(gradient)
        self.net.backward(gradient, needs_input_grad=False)
        return loss, correct

    def _update(self, optimizer: Any) -> None:
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def classify(self, images: Images) -> tuple[float, np.ndarray]:
        """The mean loss, and the class read in each image; each process reads some of them."""
        self.net.eval()
        parts = [slice(start, start + _TESTED) for start in range(0, len(images), _TESTED)]
        own = [self._read(images, part) for part in parts[self.communicator.rank :: self.communicator.size]]
        self.net.train()
        found: list[Any] = [None] * len(parts)
        for rank, theirs in enumerate(self.communicator.gather(own)):
            found[rank :: self.communicator.size] = theirs
        return sum(loss for loss, _ in found) / len(images), np.concatenate([read for _, read in found])

    def _read(self, images: Images, part: slice) -> tuple[float, np.ndarray]:
        """The sum of the losses, and the class read in each image of a part."""
        logits = self.net(asarray(images.images[part], self.settings.dtype))
        loss = float(self.loss(logits, asarray(images.labels[part]))) * len(logits)
        return loss, to_numpy(logits.argmax(axis=1))

    def save(self, path: Path) -> None:
        """Keep all that decides how the run goes on, in the middle of an epoch too. Rank 0 writes; FileError where it
        cannot."""
        losses, correct = self._sums()
        scale = [] if self.scaler is None else [float(value) for value in self.scaler.state_dict().values()]
        state = {
            "settings": asdict(self.settings),
            "history": [asdict(epoch) for epoch in self.history],
            "loss_scale": scale,
            "epoch": {"batches": self.batch, "losses": losses, "correct": correct},
            "dropout": [layer.position for layer in self._dropouts()],
        }

        def write() -> None:
            if self.communicator.rank == 0:
                # one entry: safetensors writes several in any order, and the same run shall be the same file
                metadata = {METADATA: text_of(state)}
                with writing(path):
                    save_weights(self.net, path, optimizer=self.optimizer, metadata=metadata)

        on_all(self.communicator, write)

    def _dropouts(self) -> list[Dropout]:
        return [layer for _, layer in self.net.named_layers() if isinstance(layer, Dropout)]

    @classmethod
    def load(cls, path: Path, captured: bool = False) -> Run:
        """The run that `save` left in the file; CommandError where it is no such file, FileError where something in it
        is wrong."""
        try:
            _, metadata = read_weights(path)
        except (ValueError, OSError) as error:
            raise CommandError(_on_one_line(error)) from error
        if METADATA not in metadata:
            raise CommandError(f"{path} was not saved by `backstride train`: it has weights and no training state")
        state = parsed(path, metadata[METADATA])
        run = cls(Settings(**state["settings"]), captured)
        try:
            load_weights(run.net, path, optimizer=run.optimizer)
            run._go_on_from(state)
            run.join(run.communicator)
        except ValueError as error:
            raise FileError(f"{path}: {_on_one_line(error).removeprefix(f'{path}: ')}") from error
        return run

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        """ValueError where the state does not fit its settings, the data or the network."""
        epoch, dropouts = state["epoch"], self._dropouts()
        check_fits(state, self.batches, len(dropouts))
        if self.scaler is not None:
            self.scaler.load_state_dict(dict(zip(self.scaler.state_dict(), state["loss_scale"], strict=False)))
        self.history = [Epoch(**each) for each in state["history"]]
        if epoch["batches"]:
            self.batch, self.losses, self.correct = epoch["batches"], epoch["losses"], epoch["correct"]
        for layer, position in zip(dropouts, state["dropout"], strict=False):
            layer.position = position


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


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
