"""Writing files: whole or not at all, only over a regular file, with its mode, whatever killed writers left."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from backstride import _files


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_text_is_utf8_whatever_the_locale(tmp_path):
    code = f"from backstride import _files; _files.save({str(tmp_path / 'x')!r}, '\\u03a3 dy')"
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], env=ascii_only, check=True, timeout=60)
    assert (tmp_path / "x").read_bytes() == "Σ dy".encode()


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_what_stops_the_writing_leaves_the_old_file(moment, tmp_path, monkeypatch):
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def stop(*_):
        raise KeyboardInterrupt

    if moment != "write":
        monkeypatch.setattr(os, moment, stop)
    with pytest.raises(KeyboardInterrupt), _files.replacing(path) as file:  # noqa: PT012 - the block itself is stopped
        file.write(b"half of")
        if moment == "write":
            stop()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["kept"]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    """H9, by the limit on a file's size, which fails as a full disk does: in the middle of a write."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    code = f"""
        import resource, sys
        from backstride import _files
        sys.dont_write_bytecode = True  # which would be cut off too
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        try:
            _files.save({str(path)!r}, bytes(20000))
        except OSError as error:
            print(error.errno, error.filename)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{errno.EFBIG} {path}\n"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["kept"]


def test_a_writer_that_was_killed_is_in_nobodys_way(tmp_path):
    """H4"""
    path = tmp_path / "kept"
    code = f"""
        import os
        from backstride import _files
        with _files.replacing({str(path)!r}) as file:
            file.write(b"half of")
            file.flush()
            os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60)
    (leftover,) = names(tmp_path)
    _files.save(path, b"new")
    assert path.read_bytes() == b"new"
    assert leftover in names(tmp_path)  # it is not old enough to be known as nobody's


def test_only_stale_leftovers_are_removed(tmp_path):
    dead, at_work, recent = (tmp_path / f".backstride-{digit * 16}.tmp" for digit in "0ab")
    other = tmp_path / ".backstride-notes.tmp"
    for file in (dead, recent, other):
        file.touch()
    two_hours_ago = (time.time() - 7200,) * 2
    with _files._locked(str(at_work), None):
        for file in (dead, at_work, other):
            os.utime(file, two_hours_ago)
        _files.save(tmp_path / "kept", b"")
    assert names(tmp_path) == sorted(["kept", at_work.name, recent.name, other.name])


def test_a_name_as_long_as_the_folder_allows(tmp_path):
    """H4"""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = tmp_path / ("n" * longest)
    _files.save(path, b"1")
    _files.save(path, b"2")
    assert path.read_bytes() == b"2"
    with pytest.raises(OSError, match="File name too long") as info:
        _files.save(tmp_path / ("n" * (longest + 1)), b"")
    assert info.value.filename == str(tmp_path / ("n" * (longest + 1)))


def test_many_writers_of_one_file(tmp_path):
    path = tmp_path / "kept"
    writers = [threading.Thread(target=_files.save, args=(path, bytes([n]) * 100_000)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = path.read_bytes()
    assert len(content) == 100_000
    assert len(set(content)) == 1
    assert names(tmp_path) == ["kept"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_an_old_files_mode_is_kept(mode, tmp_path):
    """H6"""
    path = tmp_path / "kept"
    path.touch()
    path.chmod(mode)
    _files.save(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


def test_an_old_files_owner_is_kept(tmp_path):
    """Root that saves over a user's file does not take it away."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = tmp_path / "kept"
    path.touch(0o600)
    os.chown(path, 1234, 5678)
    _files.save(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 5678, 0o600)


def test_a_new_files_mode_is_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        _files.save(tmp_path / "kept", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "latest"
    link.symlink_to(folder / "run-7")  # which is not there yet
    for content in (b"1", b"2"):
        _files.save(link, content)
        assert link.is_symlink()
        assert (folder / "run-7").read_bytes() == content
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic link"):
        _files.save(tmp_path / "loop", b"")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    """H5"""
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads this pipe"):
        _files.save(path, b"nobody")
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with open(path, "wb"):  # waits for the reader
        _files.save(path, b"dw" * 100_000)  # more than a pipe holds
    reader.join()
    assert read == [b"dw" * 100_000]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_device_is_written_to_and_not_replaced():
    """H5"""
    _files.save(os.devnull, b"anything")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(OSError, match="No space left on device") as info:
        _files.save("/dev/full", b"anything")
    assert info.value.filename == "/dev/full"


def test_what_is_no_file_is_refused(tmp_path):
    import socket

    with pytest.raises(IsADirectoryError):
        _files.save(tmp_path, b"")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        _files.save(tmp_path / "no such folder" / "kept", b"")
    address = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(address))  # an address is short
        with pytest.raises(OSError, match="no regular file"):
            _files.save(address, b"")
    assert names(tmp_path) == ["socket"]


def test_what_would_fail_is_known_before_the_work(tmp_path):
    _files.check_writable(tmp_path / "kept")
    _files.check_writable(os.devnull)
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        _files.check_writable(tmp_path / "no such folder" / "kept")
    with pytest.raises(IsADirectoryError):
        _files.check_writable(tmp_path)
