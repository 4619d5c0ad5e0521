"""Networks on disk, as safetensors files that PyTorch and others read too."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

import numpy as np

from . import _files
from ._extras import ml_dtypes, needed_for
from .backend import to_numpy
from .layers import Layer
from .optim import Optimizer

_READABLE = frozenset("BOOL U8 I8 U16 I16 F16 BF16 U32 I32 F32 U64 I64 F64".split())
"""safetensors' names of the dtypes that NumPy has, with ml_dtypes."""

_PICKLES = (b"PK", b"\x80")
"""How the files of torch.save begin."""

_PICKLE_HINT = (
    "; a file of torch.save (.pt, .pth) is never opened here, because unpickling can run any code in it: convert it "
    "where PyTorch is, by safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')"
)


def save_weights(
    net: Layer,
    path: str | os.PathLike[str],
    *,
    optimizer: Optimizer | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the parameters and buffers of `net` to `path` under their state_dict names.

    optimizer: its state is added, under names that begin with "optimizer." (or, where a layer is called so, with
    "_optimizer."). metadata: strings to keep beside. A crash on the way leaves an old file of that name as it was: the
    new one is written beside it, flushed to the disk, and renamed. Raises OSError where the file cannot be written,
    MissingExtraError without safetensors.
    """
    with needed_for("save_weights"):
        from safetensors.numpy import save

    arrays = dict(net.state_dict())
    if optimizer is not None:
        prefix = _optimizer_prefix(name for name, _ in net.named_state())
        arrays |= {prefix + name: array for name, array in optimizer.state_dict().items()}
    _files.save(path, save({name: to_numpy(array) for name, array in arrays.items()}, dict(metadata or {})))


def load_weights(net: Layer, path: str | os.PathLike[str], *, optimizer: Optimizer | None = None) -> dict[str, str]:
    """Load a file of save_weights (or a PyTorch state_dict saved as safetensors) into `net`; returns its metadata.

    optimizer: its state is loaded too; without it, names that begin with "optimizer." are passed over. Raises
    ValueError listing every missing or unexpected name, wrong shape, dtype or value, or where the file is damaged, and
    then nothing has been changed; OSError where it cannot be read; MissingExtraError without safetensors.
    """
    arrays, metadata = read_weights(path)
    prefix = _optimizer_prefix(name for name, _ in net.named_state())
    state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    weights = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    loaded: list[tuple[Layer | Optimizer, Mapping[str, np.ndarray]]] = [(net, weights)]
    if optimizer is not None:
        loaded.append((optimizer, state))
    problems = []
    for owner, found in loaded:
        try:
            owner.check_state_dict(found)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"{os.fspath(path)}: " + "\n".join(problems))
    for owner, found in loaded:
        owner.load_state_dict(found)
    return metadata


def _optimizer_prefix(names: Iterable[str]) -> str:
    """What the names of the optimizer's state begin with, and none of the network's names."""
    prefix, names = "optimizer.", tuple(names)
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata. Raises as load_weights."""
    with needed_for("load_weights"):
        from safetensors import SafetensorError, safe_open

    shown = os.fspath(path)
    if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
        raise ValueError(f"{shown} is no regular file")
    with open(path, "rb") as raw:  # safetensors' own error for an unreadable file does not name it
        hint = _PICKLE_HINT if raw.read(2).startswith(_PICKLES) else ""
    try:
        with safe_open(path, framework="np") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            wrong = [f"{name} has dtype {dtype}" for name, dtype in dtypes.items() if dtype not in _READABLE]
            if wrong:
                raise ValueError(f"{shown}: {', '.join(wrong)}; expected one of {' '.join(sorted(_READABLE))}")
            if "BF16" in dtypes.values():
                ml_dtypes()
            return {name: file.get_tensor(name) for name in dtypes}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{shown} is no safetensors file, or is damaged: {error}{hint}") from None
