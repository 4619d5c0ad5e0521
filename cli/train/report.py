"""What a training run shows: its progress, and what came of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import writing
from ..launcher import on_all
from .interrupt import Interrupt
from .pace import efficiency
from .run import Run
from .settings import Epoch

if TYPE_CHECKING:
    from rich.console import Console


class _Lines:
    """Progress for a pipe or a file: one line an epoch."""

    def __init__(self, console: Console, training: Run, epochs: int) -> None:
        self.console, self.training, self.epochs = console, training, epochs

    def step(self, interrupt: Interrupt) -> None:
        pass

    def end_of_epoch(self, history: list[Epoch]) -> None:
        speed = f"{self.training.images_per_second:,.0f} images/s"
        self.console.print(f"epoch {len(history)}/{self.epochs}  {_scores(history[-1])}  {speed}", soft_wrap=True)


class _Bar:
    """Progress for a terminal or a notebook: one bar over all epochs."""

    def __init__(self, bar: Any, training: Run, epochs: int) -> None:
        self.bar, self.training, self.epochs = bar, training, epochs
        self.task = bar.add_task("", total=epochs * training.batches, completed=training.steps, scores="")
        self._show(training.history)

    def step(self, interrupt: Interrupt) -> None:
        self.bar.advance(self.task)
        if interrupt.number:
            self.bar.update(self.task, scores=f"finishing this epoch ({interrupt.name} again: stop at once)")

    def end_of_epoch(self, history: list[Epoch]) -> None:
        self._show(history)

    def _show(self, history: list[Epoch]) -> None:
        epoch = min(len(history) + 1, self.epochs)
        scores = f"{_scores(history[-1])}  {self.training.images_per_second:,.0f} images/s" if history else ""
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}", scores=scores)


@contextmanager
def progress(console: Console, training: Run, epochs: int) -> Iterator[_Lines | _Bar]:
    if not (console.is_terminal or _is_notebook(console)):
        yield _Lines(console, training, epochs)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    epoch, scores = TextColumn("{task.description}"), TextColumn("{task.fields[scores]}")
    columns = (epoch, BarColumn(None), TimeRemainingColumn(elapsed_when_finished=True), scores)
    with Progress(*columns, console=console, expand=True) as bar:
        yield _Bar(bar, training, epochs)


def _is_notebook(console: Console) -> bool:
    """Whether rich can draw a bar in the notebook that this runs in."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def _scores(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.4f}  train {epoch.accuracy:.1%}  test {epoch.test_accuracy:.1%}"


def report(training: Run, arguments: argparse.Namespace, console: Console, stopped: str) -> None:
    """Say how well the images are read, save and draw what was asked for. stopped: how the training was cut short."""
    _, read = training.classify(training.test)
    right = int((read == training.test.labels).sum())
    if stopped:
        console.print(stopped)
    if not math.isfinite(training.history[-1].loss):
        console.print("the loss ran away to infinity: a smaller --lr may help")
    accuracy = right / len(training.test)
    what = f"{right} of {len(training.test)} {training.data.noun} read right"
    console.print(f"[bold]test accuracy {accuracy:.2%}[/bold] ({what})")
    mistakes = ", ".join(f"{true} as {seen} ({count})" for count, true, seen in _mistakes(training, read))
    if mistakes:
        console.print(f"most often misread: {mistakes}", markup=False)
    if "save" in arguments:
        save(training, arguments.save, console)
    if "plot" in arguments:
        on_all(training.communicator, lambda: _plot(training, read, arguments.plot))
        console.print(f"drew {_shown(arguments.plot)}", soft_wrap=True)


def report_break(training: Run, arguments: argparse.Namespace, console: Console, name: str) -> None:
    """Say where in an epoch the training was left, and save it."""
    console.print(
        f"stopped by {name} after step {training.batch} of {training.batches} of epoch {len(training.history) + 1}"
    )
    save(training, arguments.save, console)


def report_pace(training: Run, console: Console) -> None:
    """How fast several processes were, and how much of their time one alone would have needed as well."""
    paces = training.communicator.gather((training.pace.seconds, training.pace.waiting))
    speed, size = training.images_per_second, len(paces)
    if size > 1:
        console.print(
            f"{size} processes: {speed:,.0f} images/s in all, {speed / size:,.0f} a process; scaling efficiency "
            f"{efficiency(paces):.0%} (the rest of their time they exchanged gradients or waited for each other)",
            soft_wrap=True,
        )


def _plot(training: Run, read: np.ndarray, path: Path) -> None:
    from .plot import save_plot

    if training.communicator.rank == 0:
        with writing(path):
            save_plot(training, read, path)


def save(training: Run, path: Path, console: Console) -> None:
    training.save(path)
    ends = training.settings.schedule_epochs  # past its end nothing goes on
    advice = "" if ends and len(training.history) >= ends else f" (go on with --resume {path})"
    console.print(f"saved {_shown(path)}{advice}", soft_wrap=True)


def _mistakes(training: Run, read: np.ndarray) -> list[tuple[int, str, str]]:
    """The three most frequent: how often, a class, and what it was taken for."""
    counts = confusion(training.test.labels, read, len(training.data.classes))
    np.fill_diagonal(counts, 0)
    most = np.argsort(counts, axis=None, kind="stable")[::-1][:3]
    places = [divmod(int(place), len(counts)) for place in most]
    names = training.data.classes
    return [(int(counts[true, seen]), names[true], names[seen]) for true, seen in places if counts[true, seen]]


def confusion(labels: np.ndarray, read: np.ndarray, classes: int) -> np.ndarray:
    """How many images of class i (row) were taken for class j (column)."""
    return np.bincount(labels * classes + read, minlength=classes**2).reshape(classes, classes)


def _shown(path: Path) -> str:
    return str(path.resolve())
