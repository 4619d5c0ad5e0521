"""Kernels that were compiled ahead of time (`backstride warm`), as files that the loader reads instead of compiling.

A file stands for itself: its name holds a digest of what was compiled and one of what is in it. So it may be copied
into an image or shared by many machines, several processes may write into its folder, and a damaged one is passed over.
Kernels run with a program's memory at hand, so what other users made or could have changed is passed over too.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from .... import _files
from ...._notices import warn_once
from ...._switch import environment
from .nvrtc import OPTIONS, architecture

VARIABLE = "BACKSTRIDE_CACHE_DIR"

_FORMAT = "2"  # of these files; those of version 0.1 lack their last byte, and drivers refuse them


def folder() -> Path:
    """Where programs look for cubins: BACKSTRIDE_CACHE_DIR, or else ~/.cache/backstride."""
    return Path(environment(VARIABLE) or "~/.cache/backstride").expanduser()


def find(text: str, sm: int, where: Path) -> Path | None:
    """The undamaged file of this CUDA text for compute capability sm / 10; None where there is none to be read or
    trusted."""
    with suppress(OSError):
        if _trusted(where, where):
            for file in where.glob(f"{_stem(text, sm)}-*.cubin"):
                if _trusted(file, where) and file.stem.endswith(_digest(file.read_bytes())):
                    return file
    return None


def _trusted(path: Path, folder: Path) -> bool:
    reason = _files.distrusted(path)
    if reason is not None:
        warn_once(f"kernels in {folder} are passed over: {reason}")
    return reason is None


def save(text: str, sm: int, cubin: bytes, where: Path) -> Path:
    """Keep the cubin of this CUDA text; the file appears complete or, where that fails (OSError), not at all."""
    file = where / f"{_stem(text, sm)}-{_digest(cubin)}.cubin"
    _files.save(file, cubin)
    return file


def _stem(text: str, sm: int) -> str:
    return f"{architecture(text, sm)}-{_digest(' '.join((_FORMAT, *OPTIONS, text)).encode())}"


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]
