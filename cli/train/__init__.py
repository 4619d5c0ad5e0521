"""Train a network: a small one on 1,437 real handwritten digits, tested on 360 others; or another, on other images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from ..._extras import needed_for
from ...backend import get_backend
from ..arguments import select_backend
from ..launcher import ending_together, joined, on_all, share_machine
from ..notices import is_quiet
from .interrupt import Interrupt, interruptible
from .options import add_arguments, begin, check_options, join
from .report import progress, report, report_break, report_pace
from .run import Run
from .settings import SMALL

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["HELP", "add_arguments", "run"]

HELP = "learn handwritten digits, or images of your own"


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or where a signal cut the training short 128 and its number (130 after Ctrl-C)."""
    with needed_for("backstride train"):
        import rich  # noqa: F401
    backend = select_backend(arguments)
    check_options(arguments)
    communicator = joined(getattr(arguments, "communicator", "mpi" if backend == "numpy" else "nccl"))
    with ending_together(communicator):
        share_machine(communicator, backend)
        training, epochs = on_all(communicator, lambda: begin(arguments))
        on_all(communicator, lambda: join(training, arguments, communicator))
        return _run(training, arguments, epochs)


def _run(training: Run, arguments: argparse.Namespace, epochs: int) -> int:
    from rich.console import Console

    communicator = training.communicator
    first = communicator.rank == 0
    console, shown = Console(highlight=False, quiet=not first), Console(highlight=False, quiet=is_quiet() or not first)
    learned, tested = len(training.train), len(training.test)
    shown.print(f"{learned:,} {training.data.noun} to learn, {tested:,} to test, backend {get_backend()}")
    shown.print(_described(training), style="dim", soft_wrap=not console.is_terminal)
    with interruptible() as interrupt, np.errstate(over="ignore", invalid="ignore"):  # a run-away loss is told in words
        _train(training, arguments, epochs, shown, interrupt)
        done = len(training.history)
        report_pace(training, shown)
        if training.batch:
            report_break(training, arguments, console, interrupt.name)
        else:
            stopped = f"stopped by {interrupt.name} after epoch {done} of {epochs}" if done < epochs else ""
            report(training, arguments, console, stopped)
    return interrupt.status if done < epochs else 0


def _described(training: Run) -> str:
    if training.settings.model == SMALL:
        net = repr(training.net)
    else:
        net = f"{training.settings.model}, {sum(p.data.size for p in training.net.parameters()):,} weights"
    return net if training.settings.shards == 1 else f"{net}\n{_shares(training)}"


def _shares(training: Run) -> str:
    """What a shard is, in a last batch of fewer images too."""
    size, shards = training.settings.batch_size, training.settings.shards
    last = len(training.train) - (training.batches - 1) * size
    each = [f"{n // shards} to {-(-n // shards)}" if n % shards else f"{n // shards}" for n in (size, last)]
    in_last = f", {each[1]} in the last batch of an epoch" if last != size else ""
    empty = ", where the others do nothing" if min(last, size) < shards else ""
    processes = training.communicator.size
    return f"{shards} shards of {each[0]} images{in_last}{empty}; {processes} process{'es' * (processes > 1)}"


def _train(training: Run, arguments: argparse.Namespace, epochs: int, console: Console, interrupt: Interrupt) -> None:
    """Train up to `epochs`, or where a signal asks for it to the end of this one, or with --save-every of this step."""
    every = getattr(arguments, "save_every", 0)

    def is_asked() -> bool:
        """Whether a process got a signal, which then is every process's."""
        interrupt.number = max(training.communicator.gather(interrupt.number))
        return interrupt.number != 0

    def after_batch() -> bool:
        shown.step(interrupt)
        leaves = every and is_asked()
        if every and not leaves and training.steps % every == 0:
            training.save(arguments.save)
        return bool(leaves)

    with progress(console, training, epochs) as shown:
        while len(training.history) < epochs and not is_asked():
            if training.epoch(after_batch) is not None:
                shown.end_of_epoch(training.history)
