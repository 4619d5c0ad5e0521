"""What a run's file holds beside weights and optimizer, as JSON in its metadata; and the checks of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..._notices import warn_once
from ..._state import Check, is_int, is_number, items, record, scalar
from ...benchmarks.environment import decides_bits
from ...distributed import Communicator
from ...kernels.dtypes import NAMES as DTYPES
from ..errors import FileError, listed
from .settings import AUGMENTATIONS, MODELS, SCHEDULES, Settings

METADATA = "backstride train"
"""The name of the training state in a saved file's metadata."""


def _one_of(names: Any) -> Check:
    return scalar(f"one of {', '.join(names)}", lambda name: isinstance(name, str) and name in names)


def _at_least(minimum: int) -> Check:
    return scalar(f"an int of at least {minimum}", lambda value: is_int(value, minimum))


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_LOSS = scalar("a number of at least 0, or NaN", lambda loss: is_number(loss) and not loss < 0)
_SHARE = scalar("a number from 0 to 1", lambda share: is_number(share) and 0 <= share <= 1)
_CHECK: Check = record(
    settings=record(
        batch_size=_at_least(1),
        lr=scalar("a finite number above 0", lambda lr: is_number(lr) and 0 < lr < math.inf),
        seed=_at_least(0),
        model=_one_of(MODELS),
        data=scalar("a path", lambda path: isinstance(path, str)),
        schedule=_one_of(SCHEDULES),
        schedule_epochs=_at_least(0),
        augment=_one_of(AUGMENTATIONS),
        dtype=_one_of(DTYPES),
        shards=scalar("a power of two", lambda shards: is_int(shards, 1) and shards & (shards - 1) == 0),
    ),
    history=items(record(loss=_LOSS, accuracy=_SHARE, test_loss=_LOSS, test_accuracy=_SHARE)),
    loss_scale=items(scalar("a number of at least 0", lambda number: is_number(number) and 0 <= number < math.inf)),
    epoch=record(batches=_at_least(0), losses=items(_LOSS), correct=items(_at_least(0))),
    dropout=items(items(scalar("an int from 0 to 2**32 - 1", lambda word: is_int(word, 0) and word < 2**32))),
    machine=scalar("an object of strings", _texts),
)
_LATER = {"loss_scale": [], "epoch": {"batches": 0, "losses": [], "correct": []}, "dropout": [], "machine": {}}
"""What a file of version 0.2 does not say."""


def text_of(state: Mapping[str, Any]) -> str:
    return json.dumps({**state, "machine": decides_bits()})


def parsed(path: Path, text: str) -> dict[str, Any]:
    """The training state in a file's metadata; FileError that lists what is wrong with it. What the machine has to do
    with the bits is said where it was another."""
    try:
        state = _filled(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: the metadata {METADATA!r} is damaged: {error}") from error
    problems = list(_CHECK("training", state))
    if problems:
        raise FileError(f"{path}: {listed(problems)}")
    _compare(path, state["machine"], decides_bits())
    return dict(state)


def check_fits(state: Mapping[str, Any], batches: int, dropouts: int) -> None:
    """ValueError where a training state is not that of an epoch of so many batches and so many layers of dropout."""
    epoch, shards = state["epoch"], state["settings"]["shards"]
    problems = []
    if epoch["batches"] > batches:
        problems.append(f"training.epoch.batches is {epoch['batches']}; expected at most {batches}, those of an epoch")
    for name in ("losses", "correct"):
        if epoch["batches"] and len(epoch[name]) != shards:
            problems.append(f"training.epoch.{name} is of {len(epoch[name])} shards; expected {shards}")
    if state["dropout"] and [len(position) for position in state["dropout"]] != [3] * dropouts:
        problems.append(f"training.dropout is not the position of {dropouts} layers, three numbers each")
    if problems:
        raise ValueError(listed(problems))


def _filled(state: Any) -> Any:
    """A training state of version 0.2, which knew fewer settings, as one of this version."""
    if isinstance(state, dict) and isinstance(state.get("settings"), dict):
        later = {field.name: field.default for field in fields(Settings)[3:]}
        state = {**_LATER, **state, "settings": {**later, **state["settings"]}}
    return state


def _compare(path: Path, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [f"{name} was {old} and is {new}" for name, old, new in _different(then, now)] if then else []
    if changed:
        warn_once(f"{path}: {'; '.join(changed)}: its bits need not be those of the run going on where it was begun")


def compare_machines(communicator: Communicator) -> None:
    """Say where the processes run on machines whose bits may differ."""
    first, *others = communicator.gather(decides_bits())
    for rank, machine in enumerate(others, 1):
        different = _different(machine, first)
        found = [f"{name} is {one} on rank {rank} and {other} on rank 0" for name, one, other in different]
        if found:
            warn_once(f"{'; '.join(found)}: their weights need not stay the same; expected machines of one kind")
            return


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The names that differ, with what they are in each."""
    names = dict.fromkeys((*one, *other))
    pairs = ((name, one.get(name, "not there"), other.get(name, "not there")) for name in names)
    return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]
