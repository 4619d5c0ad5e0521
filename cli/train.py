"""Train a small convolutional network on 1,437 real handwritten digits and test it on 360 others."""

from __future__ import annotations

import argparse
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import needed_for
from .arguments import add_backend, natural, positive_float, positive_int, readable_file, select_backend, writable_file
from .digits_run import Epoch, Run, Settings
from .errors import CommandError

if TYPE_CHECKING:
    from rich.console import Console

HELP = "learn handwritten digits: a small network on real data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default, unset = Settings(), argparse.SUPPRESS
    add_backend(parser)
    parser.add_argument("--epochs", type=positive_int, default=20, metavar="N", help="passes over the training images")
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=unset,
        metavar="N",
        help=f"images to a step (default: {default.batch_size})",
    )
    parser.add_argument(
        "--lr", type=positive_float, default=unset, metavar="RATE", help=f"learning rate (default: {default.lr})"
    )
    parser.add_argument(
        "--seed",
        type=natural,
        default=unset,
        metavar="N",
        help=f"of weights and order; the same seed gives the same bits (default: {default.seed})",
    )
    parser.add_argument(
        "--save",
        type=writable_file,
        default=unset,
        metavar="FILE.safetensors",
        help="keep weights and optimizer, for --resume or backstride.load_weights",
    )
    parser.add_argument(
        "--resume",
        type=readable_file,
        default=unset,
        metavar="FILE.safetensors",
        help="go on with a saved run up to --epochs, with its batch size, rate and seed",
    )
    parser.add_argument(
        "--plot",
        type=writable_file,
        default=unset,
        metavar="FILE.png",
        help="draw loss, accuracy, the learned filters and the misread digits",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or 130 where Ctrl-C cut the training short."""
    with needed_for("backstride train"):
        from rich.console import Console
    backend = select_backend(arguments)
    _check_outputs(arguments)
    training = _start(arguments)
    console = Console(highlight=False)
    console.print(f"{len(training.train):,} digits to learn, {len(training.test)} to test, backend {backend}")
    console.print(f"{training.net!r}", style="dim", soft_wrap=not console.is_terminal)
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that runs away is told in words
        interrupted = _train(training, arguments.epochs, console)
    _report(training, arguments, console, interrupted)
    return 130 if interrupted else 0


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Everything that saving and plotting at the end will need is there."""
    if "save" in arguments or "resume" in arguments:
        with needed_for("backstride train --save and --resume"):
            import safetensors  # noqa: F401
    if "plot" in arguments:
        with needed_for("backstride train --plot"):
            from .training_plot import FORMATS
        if arguments.plot.suffix.lower() not in FORMATS:
            raise CommandError(f"argument --plot: {arguments.plot} should end in {' or '.join(FORMATS)}")


def _start(arguments: argparse.Namespace) -> Run:
    given = {name: getattr(arguments, name) for name in asdict(Settings()) if name in arguments}
    if "resume" not in arguments:
        return Run(Settings(**given))
    training = Run.load(arguments.resume)
    for name, value in given.items():
        if value != getattr(training.settings, name):
            option, of_file = "--" + name.replace("_", "-"), getattr(training.settings, name)
            raise CommandError(f"argument {option}: {value}, but {arguments.resume} was begun with {of_file}")
    if len(training.history) >= arguments.epochs:
        done = len(training.history)
        raise CommandError(f"argument --epochs: {arguments.resume} has {done} epochs already; give --epochs above that")
    return training


def _train(training: Run, epochs: int, console: Console) -> bool:
    """Train up to `epochs`; True where Ctrl-C stopped it at the end of an epoch before."""
    with _interruptible() as interrupt, _progress(console, training, epochs) as progress:
        while len(training.history) < epochs and not interrupt.requested:
            training.epoch(lambda: progress.step(interrupt))
            progress.end_of_epoch(training.history)
    return interrupt.requested and len(training.history) < epochs


class _Interrupt:
    requested = False


@contextmanager
def _interruptible() -> Iterator[_Interrupt]:
    """The first Ctrl-C asks for a stop at the end of the epoch, where a run can be gone on with; the second stops."""
    interrupt = _Interrupt()

    def on_first(*_: Any) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, on_first)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


class _Lines:
    """Progress for a pipe or a file: one line an epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs

    def step(self, interrupt: _Interrupt) -> None:
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

    def step(self, interrupt: _Interrupt) -> None:
        self.bar.advance(self.task)
        if interrupt.requested:
            self.bar.update(self.task, scores="finishing this epoch (Ctrl-C again: stop at once)")

    def end_of_epoch(self, history: list[Epoch]) -> None:
        self._show(history)

    def _show(self, history: list[Epoch]) -> None:
        epoch = min(len(history) + 1, self.epochs)
        scores = _scores(history[-1]) if history else ""
        self.bar.update(self.task, description=f"epoch {epoch}/{self.epochs}", scores=scores)


@contextmanager
def _progress(console: Console, training: Run, epochs: int) -> Iterator[_Lines | _Bar]:
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


def _report(training: Run, arguments: argparse.Namespace, console: Console, interrupted: bool) -> None:
    _, read = training.classify(training.test)
    right = int((read == training.test.labels).sum())
    if interrupted:
        console.print(f"stopped by Ctrl-C after epoch {len(training.history)} of {arguments.epochs}")
    if not math.isfinite(training.history[-1].loss):
        console.print("the loss ran away to infinity: a smaller --lr may help")
    accuracy = right / len(training.test)
    console.print(f"[bold]test accuracy {accuracy:.2%}[/bold] ({right} of {len(training.test)} digits read right)")
    if "save" in arguments:
        training.save(arguments.save)
        console.print(f"saved {_shown(arguments.save)} (go on with --resume {arguments.save})", soft_wrap=True)
    if "plot" in arguments:
        from .training_plot import save_plot

        save_plot(training, read, arguments.plot)
        console.print(f"drew {_shown(arguments.plot)}", soft_wrap=True)


def _shown(path: Path) -> str:
    return str(path.resolve())
