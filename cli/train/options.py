"""The options of `backstride train`, and what can be known of them before the training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..._extras import needed_for
from ...backend import get_backend
from ...distributed import Communicator
from ...kernels.dtypes import NAMES as DTYPES
from ..arguments import (
    add_backend,
    check_ending,
    natural,
    positive_float,
    positive_int,
    power_of_two,
    readable_file,
    writable_file,
)
from ..errors import CommandError, FileError
from ..launcher import launched
from .data import DIGITS
from .run import Run
from .settings import AUGMENTATIONS, MODELS, SCHEDULES, Settings

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
        "--data",
        default=unset,
        metavar="PATH",
        help="an .npz file with images (N, H, W) or (N, C, H, W), labels (N,), and perhaps test_images and "
        "test_labels; or a folder with a subfolder of images for each class, or with train/ and test/ of such "
        "(default: scikit-learn's digits)",
    )
    _choice(parser, "--model", MODELS, default.model, "what is trained; all but small are those of backstride.models")
    _choice(parser, "--schedule", tuple(SCHEDULES), default.schedule, "how --lr changes until --epochs")
    _choice(parser, "--augment", AUGMENTATIONS, default.augment, "mirror or shift the images anew in each epoch")
    _choice(parser, "--dtype", DTYPES, default.dtype, "of weights and images; float16 has a dynamic loss scale")
    parser.add_argument(
        "--capture", action="store_true", help="on CuPy, run a step as one CUDA graph: the same bits, fewer launches"
    )
    parser.add_argument(
        "--shards",
        type=power_of_two,
        default=unset,
        metavar="N",
        help="cut each batch into so many parts, a power of two, which the processes of mpiexec or srun share; their "
        f"number, a power of two up to N, does not change a bit (default: {default.shards})",
    )
    parser.add_argument(
        "--communicator",
        choices=("mpi", "nccl"),
        default=unset,
        help="what processes exchange gradients by (default: nccl where the backend is cupy, else mpi)",
    )
    parser.add_argument(
        "--save",
        type=writable_file,
        default=unset,
        metavar="FILE.safetensors",
        help="keep weights and optimizer, for --resume or backstride.load_weights",
    )
    parser.add_argument(
        "--save-every",
        type=positive_int,
        default=unset,
        metavar="STEPS",
        help="save after each so many steps, and at Ctrl-C or SIGTERM after the step that is running",
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


def _choice(parser: argparse.ArgumentParser, option: str, choices: Sequence[str], default: str, meaning: str) -> None:
    parser.add_argument(option, choices=choices, default=argparse.SUPPRESS, help=f"{meaning} (default: {default})")


def check_options(arguments: argparse.Namespace) -> None:
    """The options go together, and everything that saving and plotting at the end will need is there."""
    if "save" in arguments or "resume" in arguments:
        with needed_for("backstride train --save and --resume"):
            import safetensors  # noqa: F401
    if "save" in arguments:
        check_ending("--save", arguments.save, (".safetensors", ""))
    if "resume" not in arguments:
        _check_shards(arguments, getattr(arguments, "shards", 1))
    if "save_every" in arguments and "save" not in arguments:
        raise CommandError("argument --save-every: there is no --save, which says where")
    if "plot" in arguments:
        with needed_for("backstride train --plot"):
            from .plot import FORMATS
        check_ending("--plot", arguments.plot, FORMATS)


def begin(arguments: argparse.Namespace) -> tuple[Run, int]:
    """The run to train, new or resumed, and up to how many epochs."""
    given = {name: getattr(arguments, name) for name in asdict(Settings()) if name in arguments}
    if given.get("data", DIGITS) != DIGITS:
        given["data"] = _path(given["data"])
    if arguments.capture and get_backend() == "numpy":
        raise CommandError("argument --capture: CUDA graphs need the backend cupy, and numpy is in force")
    if "resume" not in arguments:
        wanted = getattr(arguments, "epochs", EPOCHS)
        scheduled = wanted if given.get("schedule", "constant") != "constant" else 0
        return Run(Settings(**given, schedule_epochs=scheduled), arguments.capture), wanted
    training = Run.load(arguments.resume, arguments.capture)
    for name, value in given.items():
        if value != getattr(training.settings, name):
            option, of_file = "--" + name.replace("_", "-"), getattr(training.settings, name)
            raise CommandError(f"argument {option}: {value}, but {arguments.resume} was begun with {of_file}")
    done = len(training.history)
    epochs: int = getattr(arguments, "epochs", EPOCHS if done < EPOCHS else done + EPOCHS)
    most = training.settings.schedule_epochs
    if most and "epochs" not in arguments:
        epochs = most
    if most and epochs > most:
        raise CommandError(f"argument --epochs: {epochs}, but the schedule of {arguments.resume} ends after {most}")
    if done >= epochs:
        raise CommandError(f"argument --epochs: {arguments.resume} has {done} epochs already; give --epochs above that")
    return training, epochs


def join(training: Run, arguments: argparse.Namespace, communicator: Communicator) -> None:
    """Share the run with the other processes; CommandError where they cannot."""
    _check_shards(arguments, training.settings.shards)
    try:
        training.join(communicator)
    except ValueError as error:
        raise CommandError(f"argument --shards: {error}") from error


def _check_shards(arguments: argparse.Namespace, shards: int) -> None:
    if shards == 1 and launched() > 1:
        many = f"{launched()} processes were launched, each of which would train by itself"
        raise CommandError(f"{many}; expected --shards N, a power of two of at least as many")
    if shards > 1 and arguments.capture:
        raise CommandError("argument --capture: a step of shards is not one graph; expected no --shards")


def _path(source: str) -> str:
    """The same place from wherever a run is gone on with; FileError where there is none."""
    path = Path(source)
    if not path.exists():
        raise FileError(f"argument --data: there is no {source}")
    return str(path.resolve())
