"""Train a network: a small one on 1,437 real handwritten digits, tested on 360 others; or another, on other images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from ..._extras import needed_for
from ..arguments import select_backend
from ..notices import is_quiet
from .interrupt import Interrupt, interruptible
from .options import add_arguments, begin, check_outputs
from .report import progress, report
from .run import Run
from .settings import SMALL

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["HELP", "add_arguments", "run"]

HELP = "learn handwritten digits, or images of your own"


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or where a signal cut the training short 128 and its number (130 after Ctrl-C)."""
    with needed_for("backstride train"):
        from rich.console import Console
    backend = select_backend(arguments)
    check_outputs(arguments)
    training, epochs = begin(arguments)
    console, shown = Console(highlight=False), Console(highlight=False, quiet=is_quiet())
    shown.print(
        f"{len(training.train):,} {training.data.noun} to learn, {len(training.test):,} to test, backend {backend}"
    )
    shown.print(_described(training), style="dim", soft_wrap=not console.is_terminal)
    with interruptible() as interrupt, np.errstate(over="ignore", invalid="ignore"):  # a run-away loss is told in words
        _train(training, epochs, shown, interrupt)
        done = len(training.history)
        stopped = f"stopped by {interrupt.name} after epoch {done} of {epochs}" if done < epochs else ""
        report(training, arguments, console, stopped)
    return interrupt.status if done < epochs else 0


def _described(training: Run) -> str:
    if training.settings.model == SMALL:
        return repr(training.net)
    return f"{training.settings.model}, {sum(p.data.size for p in training.net.parameters()):,} weights"


def _train(training: Run, epochs: int, console: Console, interrupt: Interrupt) -> None:
    """Train up to `epochs`, or to the end of an epoch before where that is asked for."""
    with progress(console, training, epochs) as shown:
        while len(training.history) < epochs and not interrupt.requested:
            training.epoch(lambda: shown.step(interrupt))
            shown.end_of_epoch(training.history)
