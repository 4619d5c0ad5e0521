"""What a training run shows: its progress, and what came of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import writing
from .interrupt import Interrupt
from .run import Epoch, Run

if TYPE_CHECKING:
    from rich.console import Console


class _Lines:
    """Progress for a pipe or a file: one line an epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs

    def step(self, interrupt: Interrupt) -> None:
        pass

    def end_of_epoch(self, history: list[Epoch]) -> None:
        self.console.print(f"epoch {len(history)}/{self.epochs}  {_scores(history[-1])}", soft_wrap=True)


class _Bar:
    """Progress for a terminal: one bar over all epochs."""

    def __init__(self, bar: Any, training: Run, epochs: int) -> None:
        self.bar, self.epochs = bar, epochs
        done = len(training.history)
        self.task = bar.add_task("", total=epochs * training.batches, completed=done * training.batches, scores="")
        self._show(training.history)

    def step(self, interrupt: Interrupt) -> None:
        self.bar.advance(self.task)
        if interrupt.requested:
            self.bar.update(self.task, scores=f"finishing this epoch ({interrupt.name} again: stop at once)")

    def end_of_epoch(self, history: list[Epoch]) -> None:
        self._show(history)

    def _show(self, history: list[Epoch]) -> None:
        epoch = min(len(history) + 1, self.epochs)
        scores = _scores(history[-1]) if history else ""
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}", scores=scores)


@contextmanager
def progress(console: Console, training: Run, epochs: int) -> Iterator[_Lines | _Bar]:
    if not console.is_terminal:
        yield _Lines(console, epochs)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    epoch, scores = TextColumn("{task.description}"), TextColumn("{task.fields[scores]}")
    columns = (epoch, BarColumn(None), TimeElapsedColumn(), scores)
    with Progress(*columns, console=console, expand=True) as bar:
        yield _Bar(bar, training, epochs)


def _scores(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.4f}  train {epoch.accuracy:.1%}  test {epoch.test_accuracy:.1%}"


def report(training: Run, arguments: argparse.Namespace, console: Console, stopped: str) -> None:
    """Say how well the digits are read, save and draw what was asked for. stopped: how the training was cut short."""
    _, read = training.classify(training.test)
    right = int((read == training.test.labels).sum())
    if stopped:
        console.print(stopped)
    if not math.isfinite(training.history[-1].loss):
        console.print("the loss ran away to infinity: a smaller --lr may help")
    accuracy = right / len(training.test)
    console.print(f"[bold]test accuracy {accuracy:.2%}[/bold] ({right} of {len(training.test)} digits read right)")
    if "save" in arguments:
        with writing(arguments.save):
            training.save(arguments.save)
        console.print(f"saved {_shown(arguments.save)} (go on with --resume {arguments.save})", soft_wrap=True)
    if "plot" in arguments:
        from .plot import save_plot

        with writing(arguments.plot):
            save_plot(training, read, arguments.plot)
        console.print(f"drew {_shown(arguments.plot)}", soft_wrap=True)


def _shown(path: Path) -> str:
    return str(path.resolve())
