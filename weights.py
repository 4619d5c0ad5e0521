"""Networks on disk, as safetensors files that PyTorch and others read too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._extras import needed_for
from .backend import to_numpy
from .layers import Layer
from .optim import Optimizer

_OPTIMIZER = "optimizer."


def save_weights(
    net: Layer,
    path: str | os.PathLike[str],
    *,
    optimizer: Optimizer | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the parameters of `net` to `path` under their state_dict names.

    optimizer: its state is added, under names that begin with "optimizer.". metadata: strings to keep beside.
    A crash on the way leaves an old file of that name as it was: the new one is written beside it, flushed to the
    disk, and renamed. Raises OSError where the folder cannot be written, MissingExtraError without safetensors.
    """
    with needed_for("save_weights"):
        from safetensors.numpy import save

    arrays = dict(net.state_dict())
    if optimizer is not None:
        arrays |= {_OPTIMIZER + name: array for name, array in optimizer.state_dict().items()}
    data = save({name: to_numpy(array) for name, array in arrays.items()}, dict(metadata or {}))
    _replace(Path(path).resolve(), data)


def load_weights(net: Layer, path: str | os.PathLike[str], *, optimizer: Optimizer | None = None) -> dict[str, str]:
    """Load a file of save_weights (or a PyTorch state_dict saved as safetensors) into `net`; returns its metadata.

    optimizer: its state is loaded too; without it, names that begin with "optimizer." are passed over. Raises
    ValueError listing every missing or unexpected name and wrong shape, or where the file is damaged, and then nothing
    has been changed; FileNotFoundError; MissingExtraError without safetensors.
    """
    arrays, metadata = read_weights(path)
    state = {name.removeprefix(_OPTIMIZER): a for name, a in arrays.items() if name.startswith(_OPTIMIZER)}
    weights = {name: a for name, a in arrays.items() if not name.startswith(_OPTIMIZER)}
    try:
        if optimizer is not None:
            optimizer.check_state_dict(state)
        net.load_state_dict(weights)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    if optimizer is not None:
        optimizer.load_state_dict(state)
    return metadata


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata. Raises as load_weights."""
    with needed_for("load_weights"):
        from safetensors import SafetensorError, safe_open

    with open(path, "rb"):
        pass  # safetensors' own error for a missing or unreadable file does not name it
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is no safetensors file, or is damaged: {error}") from None


def _replace(path: Path, data: bytes) -> None:
    """Make `data` the content of `path` in one step, so that no reader and no crash sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115 - closed by the with below; a failed open leaves nothing to remove
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Have the rename itself reach the disk, where the system can do that for a folder."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor: Any = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
