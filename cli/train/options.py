"""The options of `backstride train`, and what can be known of them before the training."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..._extras import needed_for
from ..arguments import (
    add_backend,
    check_ending,
    natural,
    positive_float,
    positive_int,
    readable_file,
    writable_file,
)
from ..errors import CommandError
from .run import Run, Settings

EPOCHS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default, unset = Settings(), argparse.SUPPRESS
    add_backend(parser)
    parser.add_argument(
        "--epochs",
        type=positive_int,
        default=unset,
        metavar="N",
        help=f"passes over the training images, those of a resumed run included (default: {EPOCHS}, or {EPOCHS} more "
        "where --resume has as many already)",
    )
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


def check_outputs(arguments: argparse.Namespace) -> None:
    """Everything that saving and plotting at the end will need is there."""
    if "save" in arguments or "resume" in arguments:
        with needed_for("backstride train --save and --resume"):
            import safetensors  # noqa: F401
    if "save" in arguments:
        check_ending("--save", arguments.save, (".safetensors", ""))
    if "plot" in arguments:
        with needed_for("backstride train --plot"):
            from .plot import FORMATS
        check_ending("--plot", arguments.plot, FORMATS)


def begin(arguments: argparse.Namespace) -> tuple[Run, int]:
    """The run to train, new or resumed, and up to how many epochs."""
    given = {name: getattr(arguments, name) for name in asdict(Settings()) if name in arguments}
    if "resume" not in arguments:
        return Run(Settings(**given)), getattr(arguments, "epochs", EPOCHS)
    training = Run.load(arguments.resume)
    for name, value in given.items():
        if value != getattr(training.settings, name):
            option, of_file = "--" + name.replace("_", "-"), getattr(training.settings, name)
            raise CommandError(f"argument {option}: {value}, but {arguments.resume} was begun with {of_file}")
    done = len(training.history)
    epochs: int = getattr(arguments, "epochs", EPOCHS if done < EPOCHS else done + EPOCHS)
    if done >= epochs:
        raise CommandError(f"argument --epochs: {arguments.resume} has {done} epochs already; give --epochs above that")
    return training, epochs
