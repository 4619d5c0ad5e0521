"""Writing files: the one way in which anything of this package comes to be on disk."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FilePath = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\.backstride-[0-9a-f]{16}\.tmp")
_STALE_SECONDS = 3600


def save(path: FilePath, data: bytes | str) -> None:
    """Make `data` (a str: in UTF-8) the content of `path`, as `replacing` does."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: FilePath) -> Iterator[BinaryIO]:
    """A file to write into; at the end of the with block its content becomes that of `path`, in one step.

    It lies beside `path`, is flushed to the disk and renamed, so no reader, crash or full disk meets half of it. A link
    is followed, and an old file's owner and mode are kept. A pipe or a character device is written to as it stands, and
    nothing else that is no regular file is touched. OSError, naming `path`, where it cannot be written; all is as it
    was then.
    """
    special = _is_special(path)
    target = os.fspath(path) if special else os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".backstride-{os.urandom(8).hex()}.tmp")
    try:
        if special:
            with _opened(target) as file:
                yield file
            return
        with _locked(temporary, _status(target)) as file:
            _remove_stale(os.path.dirname(target))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _flush_folder(os.path.dirname(target))
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def check_writable(path: FilePath) -> None:
    """The OSError that `replacing` would begin with, before the work whose result is to be written."""
    if not _is_special(path):
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass


def distrusted(path: FilePath) -> str | None:
    """Why a file or folder that is read unasked is not to be believed, or None: it is another user's (who is not
    root), or everybody may change it. OSError where there is none."""
    if not hasattr(os, "geteuid"):  # Windows, where modes do not say it
        return None
    found = os.stat(path)
    is_folder = stat.S_ISDIR(found.st_mode)
    thing = "the folder" if is_folder else "a file"
    if found.st_uid not in (0, os.geteuid()):
        return f"{thing} belongs to another user ({found.st_uid})"
    protected = is_folder and found.st_mode & stat.S_ISVTX  # in such a folder nobody moves a file of others
    return f"every user may write to {thing}" if found.st_mode & stat.S_IWOTH and not protected else None


def _is_special(path: FilePath) -> bool:
    """Whether `path` is a pipe or a character device; OSError where it is another thing that is no regular file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISREG(mode):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return True


def _opened(special: str) -> BinaryIO:
    """A pipe or a device as it stands; OSError at once, in place of a wait, where nobody reads the pipe."""
    try:
        descriptor = os.open(special, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads this pipe", special) from error
        raise
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "wb")


def _status(target: str) -> os.stat_result | None:
    """Of the file that is replaced; None where there is none."""
    try:
        return os.stat(target)
    except FileNotFoundError:
        return None


def _locked(temporary: str, replaced: os.stat_result | None) -> BinaryIO:
    """A new file with the owner and mode of the one it replaces, locked for as long as its writer lives."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(temporary, flags, 0o666 if replaced is None else 0o600), "wb")
    if replaced is not None:
        if hasattr(os, "chown"):
            with suppress(PermissionError):  # only root gives files away
                os.chown(temporary, replaced.st_uid, replaced.st_gid)
        os.chmod(temporary, stat.S_IMODE(replaced.st_mode))
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _remove_stale(folder: str) -> None:
    """Remove what killed writers left: temporary files that have not been written to for long and that nobody locks."""
    if fcntl is None:
        return
    for name in filter(_TEMPORARY.fullmatch, os.listdir(folder)):
        with suppress(OSError), open(os.path.join(folder, name), "r+b") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > _STALE_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(file.name)


def _flush_folder(folder: str) -> None:
    """Have the rename itself reach the disk, where the system can do that for a folder."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor: Any = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
